//! `doorwarden reload`: has the running gateway read its configuration again.

use serde_json::Value;

use super::config_file::ConfigFile;
use super::operate;
use crate::command::{CommandFailure, say};
use crate::config::Config;

/// Asks the gateway to reload, and prints the result.
pub(super) fn run(file: &ConfigFile) -> Result<(), CommandFailure> {
    let path = file.path()?;
    // The file may have mistakes: the gateway itself reports them, also in its log.
    let config = Config::glimpse(&path);
    let Some(reloaded) = operate::ask(&config, "POST /reload", "")? else {
        Config::load(&path).map_err(|error| CommandFailure::Failed(error.to_string()))?;
        return Err(CommandFailure::Unavailable(format!(
            "no running gateway was started with {}",
            path.display()
        )));
    };
    let texts = |name: &str| {
        let all = reloaded.get(name).and_then(Value::as_array).into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let generation = reloaded.get("generation").unwrap_or(&Value::Null);
    let problems = texts("problems");
    if !problems.is_empty() {
        return Err(CommandFailure::Failed(format!(
            "the reload changed nothing (generation {generation} is served):\n{}",
            problems.join("\n")
        )));
    }
    for warning in texts("warnings") {
        eprintln!("{warning}");
    }
    say(format_args!("generation {generation} is served"))?;
    for key in texts("at_restart") {
        say(format_args!("{key} has changed; it takes effect at the next start"))?;
    }
    Ok(())
}
