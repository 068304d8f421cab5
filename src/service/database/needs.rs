//! Lists which of the tables, columns and rights that a part of the gateway needs are missing, each by its name.
//!
//! A database reports only the first error of a statement, and whoever sets a service up wants to know all of them at once.
//! The list is made at the start and by `check`, never during a request.

use super::{Dialect, ServiceDatabase, Statement};

/// The columns of a table that must be readable.
#[derive(Clone, Debug)]
pub struct RequiredColumns {
    table: String,
    columns: Vec<String>,
}

/// A column that the database reports.
struct DatabaseColumn {
    name: String,
    may_be_read: bool,
}

impl RequiredColumns {
    /// Lists the columns of a table. An empty name stands for a column that is not configured, and is left out.
    pub fn new<'c>(table: &str, columns: impl IntoIterator<Item = &'c str>) -> Self {
        let named = columns.into_iter().filter(|column| !column.is_empty());
        Self { table: table.to_owned(), columns: named.map(str::to_owned).collect() }
    }
}

impl ServiceDatabase {
    /// Returns a line for each table or column that is missing or may not be read.
    ///
    /// # Errors
    /// Why the database cannot be asked.
    pub async fn missing(&self, needed: &[RequiredColumns]) -> Result<Vec<String>, String> {
        let mut missing = Vec::new();
        for RequiredColumns { table, columns } in needed {
            let there = self.columns(table).await?;
            if there.is_empty() {
                missing.push(match self.dialect {
                    // MySQL hides tables from users who may not read them.
                    Dialect::MySql => format!("there is no table {table}, or no right to read it"),
                    Dialect::Sqlite | Dialect::Postgres => format!("there is no table {table}"),
                });
                continue;
            }
            // Each dialect compares names as it compares quoted names.
            let is = |column: &DatabaseColumn, name: &str| match self.dialect {
                Dialect::Postgres => column.name == name,
                Dialect::Sqlite | Dialect::MySql => column.name.eq_ignore_ascii_case(name),
            };
            for name in columns {
                match there.iter().find(|column| is(column, name)) {
                    Some(column) if column.may_be_read => {}
                    Some(_) => missing.push(format!("there is no right to read {table}.{name}")),
                    None => {
                        let names: Vec<&str> = there.iter().map(|one| one.name.as_str()).collect();
                        let or = match self.dialect {
                            Dialect::MySql => ", or no right to read it",
                            Dialect::Sqlite | Dialect::Postgres => "",
                        };
                        missing.push(format!(
                            "the table {table} has no column {name}{or}; it has {}",
                            names.join(", ")
                        ));
                    }
                }
            }
        }
        if let Some(first) = needed.first() {
            missing.extend(self.is_elsewhere_too(&first.table).await?);
        }
        Ok(missing)
    }

    /// Returns the names of a table's columns; none if the table does not exist or may not be seen.
    ///
    /// # Errors
    /// Why the database cannot be asked.
    pub async fn column_names(&self, table: &str) -> Result<Vec<String>, String> {
        Ok(self.columns(table).await?.into_iter().map(|column| column.name).collect())
    }

    async fn columns(&self, table: &str) -> Result<Vec<DatabaseColumn>, String> {
        let (schema, name) = self.place_of(table);
        let (sql, parameters) = match self.dialect {
            Dialect::Sqlite => ("SELECT name, 1 FROM pragma_table_info(?1)".to_owned(), vec![name]),
            Dialect::Postgres => (
                "SELECT CAST(a.attname AS text), \
                 CAST(has_column_privilege(a.attrelid, a.attnum, 'SELECT') AS text) \
                 FROM pg_attribute a WHERE a.attrelid = to_regclass(CAST($1 AS text)) \
                 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
                    .to_owned(),
                vec![self.table(table)?],
            ),
            Dialect::MySql => {
                let in_schema = if schema.is_some() { "?" } else { "DATABASE()" };
                let sql = format!(
                    "SELECT CAST(column_name AS CHAR), '1' FROM information_schema.columns \
                     WHERE table_schema = {in_schema} AND table_name = ? ORDER BY ordinal_position"
                );
                (sql, schema.into_iter().chain([name]).collect())
            }
        };
        let rows = self.ask(vec![Statement { sql: sql.into(), parameters }]).await?;
        let column = |row: Vec<Option<String>>| {
            let mut texts = row.into_iter().flatten();
            let (name, may) = (texts.next()?, texts.next()?);
            Some(DatabaseColumn { name, may_be_read: ["1", "true"].contains(&may.as_str()) })
        };
        Ok(rows.into_iter().flatten().filter_map(column).collect())
    }

    /// Reports a table without a configured schema that is in several schemas: the service may read another one.
    async fn is_elsewhere_too(&self, table: &str) -> Result<Option<String>, String> {
        if self.dialect != Dialect::Postgres || self.place_of(table).0.is_some() {
            return Ok(None);
        }
        let sql = "SELECT CAST(string_agg(n.nspname, ', ' ORDER BY n.nspname) AS text) FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = $1 \
             AND c.relkind IN ('r', 'p', 'v', 'm', 'f') HAVING count(*) > 1";
        let statement = Statement { sql: sql.into(), parameters: vec![table.to_owned()] };
        let rows = self.ask(vec![statement]).await?;
        let schemas = rows.into_iter().flatten().flatten().flatten().next();
        Ok(schemas.map(|schemas| {
            format!("the table {table} is in several schemas ({schemas}): say in which with schema")
        }))
    }
}
