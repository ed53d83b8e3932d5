//! What stands in a database of coturn's, for `turnwire import`.

use std::time::Duration;

use crate::store::{Inventory, Settings};

/// Nobody is on the phone, and a table may be large.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Reads all of it, and changes nothing.
///
/// # Errors
/// Why it cannot be read, in words that go on from the database's name.
pub fn take(settings: &Settings) -> Result<Inventory, String> {
    let settings = Settings { timeout: TIMEOUT, ..settings.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot be asked: {error}"))?;
    runtime.block_on(Inventory::of(&settings)).map_err(|error| error.to_string())
}
