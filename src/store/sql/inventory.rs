//! All of coturn's tables, each read once and whole.

use super::statements::{USERS, all};
use super::{Engine, Row, StoreError, Tables, key, text};
use crate::auth::Secret;
use crate::store::coturn::keys;
use crate::store::inventory::number;
use crate::store::{Inventory, Stocked, StockedToken};

impl<E: Engine> Tables<E> {
    pub(super) async fn take_inventory(&self) -> Result<Inventory, StoreError> {
        if !self.has(USERS).await? {
            let what = format!("there is no table {USERS} in it: it is no database of coturn's");
            return Err(StoreError::Unusable(what));
        }
        let mut found = Inventory::default();
        let says = self.engine.statements();
        let users = self.engine.ask(says.all_users, &[]).await?;
        found.users = users.iter().map(user).collect();
        let secrets = self.table("turn_secret", all::SECRETS, &mut found).await?;
        found.secrets = secrets.iter().filter(|row| !word(row, 1).is_empty()).map(realm).collect();
        let allowed = self.table("allowed_peer_ip", all::ALLOWED, &mut found).await?;
        found.allowed = allowed.iter().map(two).collect();
        let denied = self.table("denied_peer_ip", all::DENIED, &mut found).await?;
        found.denied = denied.iter().map(two).collect();
        let options = self.table("turn_realm_option", all::OPTIONS, &mut found).await?;
        found.options = options.iter().map(|row| [0, 1, 2].map(|at| word(row, at))).collect();
        let origins = self.table("turn_origin_to_realm", all::ORIGINS, &mut found).await?;
        found.origins = origins.iter().map(two).collect();
        let tokens = self.table("oauth_key", says.all_tokens, &mut found).await?;
        found.tokens = tokens.iter().map(token).collect();
        let admins = self.table("admin_user", all::ADMINS, &mut found).await?;
        found.admins = admins.iter().map(realm).collect();
        Ok(found)
    }

    /// The rows of a table. One that is not there has none; one that is closed to this program, or of another age, is
    /// told about.
    async fn table(
        &self,
        table: &'static str,
        sql: &'static str,
        found: &mut Inventory,
    ) -> Result<Vec<Row>, StoreError> {
        if !self.has(table).await? {
            return Ok(Vec::new());
        }
        match self.engine.ask(sql, &[]).await {
            Err(error @ (StoreError::Denied(_) | StoreError::Unusable(_))) => {
                found.unread.push((table, error));
                Ok(Vec::new())
            }
            rows => rows,
        }
    }
}

fn user(row: &Row) -> Stocked {
    let name = word(row, 1);
    let usable = keys(&name, key(row, 2), None).is_ok();
    Stocked { realm: realm(row), name, usable }
}

fn token(row: &Row) -> StockedToken {
    StockedToken {
        kid: word(row, 0),
        key: Secret::new(word(row, 1)),
        algorithm: word(row, 2),
        timestamp: number(&word(row, 3)),
        lifetime: number(&word(row, 4)),
        realm: word(row, 5),
    }
}

fn two(row: &Row) -> (String, String) {
    (word(row, 0), word(row, 1))
}

fn realm(row: &Row) -> String {
    word(row, 0)
}

fn word(row: &Row, column: usize) -> String {
    text(row, column).unwrap_or_default().to_owned()
}
