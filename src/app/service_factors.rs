//! Opens the second factors that services store, according to the configuration.

use std::sync::Arc;

use crate::config::{Config, Database, DatabaseServer, TakenOver};
use crate::directory::django::allauth::Allauth;
use crate::directory::django::otp::DjangoOtp;
use crate::directory::second_factors::FactorsAtService;
use crate::service::database::{DatabaseAccess, Databases};

/// Opens all second factors that are taken over.
pub(super) fn at_services(
    config: &Config,
    databases: &Databases,
) -> Vec<Arc<dyn FactorsAtService>> {
    let mut all: Vec<Arc<dyn FactorsAtService>> = Vec::new();
    for directory in &config.directories {
        let Some(django) = directory.django() else { continue };
        for taken_over in &django.taken_over {
            let read = databases.open(&django.database, DatabaseAccess::Read);
            let write = databases.open(&few_connections(&django.database), DatabaseAccess::Write);
            match taken_over {
                TakenOver::DjangoOtp(settings) => {
                    let otp = DjangoOtp::new(&directory.name, settings, read, write);
                    all.push(Arc::new(otp));
                }
                TakenOver::Allauth(settings) => {
                    let allauth = Allauth::new(&directory.name, settings, read, write);
                    all.push(Arc::new(allauth));
                }
            }
        }
    }
    all
}

/// Codes are used rarely, and the database role may have few connections: one at a time is enough.
fn few_connections(database: &Database) -> Database {
    match database {
        Database::Sqlite(path) => Database::Sqlite(path.clone()),
        Database::Server(server) => {
            Database::Server(Box::new(DatabaseServer { max_connections: 1, ..(**server).clone() }))
        }
    }
}

/// Returns why they cannot be used, for one directory: its users with a second factor are then sent to the service's own page.
pub(super) async fn missing(all: &[Arc<dyn FactorsAtService>], directory: &str) -> Vec<String> {
    let mut missing = Vec::new();
    for one in all.iter().filter(|one| one.directory() == directory) {
        match one.missing().await {
            Ok(lines) => missing.extend(lines),
            Err(error) => missing.push(error.to_string()),
        }
    }
    missing
}
