//! A few connections with PostgreSQL or MySQL. One that has failed in any way is closed, and a question that met
//! an old connection, which the server may have closed meanwhile, is asked once more on a new one.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::error::{DatabaseError, Error};
use sqlx::mysql::{
    MySql, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlQueryResult,
};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgQueryResult, Postgres};
use sqlx::{
    ConnectOptions, Database, Decode, Encode, Executor, IntoArguments, Row as _, Type, query,
};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::statements::{MYSQL, POSTGRESQL, Statements};
use super::{Engine, Reply, Row, StoreError, Tables, address};
use crate::store::Settings;
use crate::store::backoff::Backoff;
use crate::store::error::on_one_line;

/// Connections of which nobody needs more than one are closed after this time.
const IDLE: Duration = Duration::from_secs(60);

/// Users in PostgreSQL.
///
/// # Errors
/// Its URL is none.
pub(in crate::store) fn postgresql(
    settings: &Settings,
) -> Result<Tables<Remote<Postgres>>, StoreError> {
    let remote = Remote::new(address::postgresql(settings)?, &POSTGRESQL, settings);
    Ok(Tables::new(remote))
}

/// Users in MySQL or MariaDB.
///
/// # Errors
/// Its URL is none.
pub(in crate::store) fn mysql(settings: &Settings) -> Result<Tables<Remote<MySql>>, StoreError> {
    let remote = Remote::new(address::mysql(settings)?, &MYSQL, settings);
    Ok(Tables::new(remote))
}

/// A database at the other end of a socket.
pub(in crate::store) struct Remote<D: Spoken> {
    options: D::Options,
    statements: &'static Statements,
    limit: Duration,
    /// One for each question that may be under way.
    permits: Semaphore,
    /// Connections that nobody uses, the one that was used last at the end.
    idle: Mutex<Vec<(D::Connection, Instant)>>,
    backoff: Backoff,
}

/// What the two databases do each in its own way.
pub(in crate::store) trait Spoken: Database {
    /// With what is connected.
    type Options: ConnectOptions<Connection = Self::Connection> + Sync;

    /// Tells the server to give a question up when nobody waits for the answer any more: it would go on
    /// by itself, and with a locked table collect connections until it takes no more of anybody.
    fn limit(
        connection: &mut Self::Connection,
        limit: Duration,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The rows that a question has changed.
    fn changed(result: &Self::QueryResult) -> u64;

    /// What the server means.
    fn meaning(error: &dyn DatabaseError) -> Meaning;
}

/// What a server may mean when it refuses.
pub(in crate::store) enum Meaning {
    /// It does not let this program do that.
    Denied,
    /// It has given up, as it was told to.
    TimedOut,
    /// It is about to stop, or not yet there.
    Stopping,
    /// There is a character in a value that none of its tables could hold, so it is in none.
    NowhereToBeFound,
    /// Anything else.
    Other,
}

impl Spoken for Postgres {
    type Options = PgConnectOptions;

    async fn limit(connection: &mut PgConnection, limit: Duration) -> Result<(), Error> {
        let limit = limit.as_millis().to_string();
        let set = query("SELECT set_config('statement_timeout', $1, false)").bind(limit);
        set.execute(connection).await.map(drop)
    }

    fn changed(result: &PgQueryResult) -> u64 {
        result.rows_affected()
    }

    fn meaning(error: &dyn DatabaseError) -> Meaning {
        match error.code().as_deref() {
            // insufficient_privilege, and the class of authorization.
            Some("42501") => Meaning::Denied,
            Some(code) if code.starts_with("28") => Meaning::Denied,
            // query_canceled, lock_not_available
            Some("57014" | "55P03") => Meaning::TimedOut,
            Some(code) if code.starts_with("57P") => Meaning::Stopping,
            // untranslatable_character, character_not_in_repertoire
            Some("22P05" | "22021") => Meaning::NowhereToBeFound,
            _ => Meaning::Other,
        }
    }
}

impl Spoken for MySql {
    type Options = MySqlConnectOptions;

    async fn limit(connection: &mut MySqlConnection, limit: Duration) -> Result<(), Error> {
        let seconds = limit.as_secs().max(1).to_string();
        let locks = "SET SESSION lock_wait_timeout = CAST(? AS UNSIGNED)";
        query(locks).bind(seconds).execute(&mut *connection).await?;
        // MariaDB has the first of these, MySQL the second.
        let mariadb = "SET SESSION max_statement_time = CAST(? AS DECIMAL(10, 3))";
        let limit_in_seconds = limit.as_secs_f64().to_string();
        match query(mariadb).bind(limit_in_seconds).execute(&mut *connection).await {
            Err(Error::Database(_)) => {
                let mysql = "SET SESSION max_execution_time = CAST(? AS UNSIGNED)";
                let limit = limit.as_millis().to_string();
                query(mysql).bind(limit).execute(connection).await.map(drop)
            }
            done => done.map(drop),
        }
    }

    fn changed(result: &MySqlQueryResult) -> u64 {
        result.rows_affected()
    }

    fn meaning(error: &dyn DatabaseError) -> Meaning {
        match error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number) {
            // Access denied: to a database, to this user, to a table, to a column.
            Some(1044 | 1045 | 1142 | 1143) => Meaning::Denied,
            // A lock, MariaDB's limit, MySQL's limit.
            Some(1205 | 1969 | 3024) => Meaning::TimedOut,
            // Shutting down.
            Some(1053) => Meaning::Stopping,
            // Illegal mix of collations: a letter that the column's character set does not have.
            Some(1267) => Meaning::NowhereToBeFound,
            _ => Meaning::Other,
        }
    }
}

impl<D: Spoken> Remote<D>
where
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
    D::Arguments: IntoArguments<D>,
    for<'v> String: Encode<'v, D> + Decode<'v, D> + Type<D>,
    usize: sqlx::ColumnIndex<D::Row>,
{
    fn new(options: D::Options, statements: &'static Statements, settings: &Settings) -> Self {
        Self {
            options,
            statements,
            limit: settings.timeout,
            permits: Semaphore::new(settings.connections.max(1) as usize),
            idle: Mutex::default(),
            backoff: Backoff::default(),
        }
    }

    /// The rows of an answer, and how many were changed.
    async fn exchange(&self, sql: &'static str, values: &[&str]) -> Result<Answer, StoreError> {
        let asked = async {
            // unwrap: nobody closes it.
            let _permit = self.permits.acquire().await.unwrap();
            if let Some(mut connection) = self.take() {
                match answer::<D>(&mut connection, sql, values).await {
                    Err(error) if is_broken::<D>(&error) => self.idle().clear(),
                    other => return self.settle(connection, other),
                }
            }
            let mut connection = self.connect().await?;
            let answered = answer::<D>(&mut connection, sql, values).await;
            self.settle(connection, answered)
        };
        timeout(self.limit, asked).await.unwrap_or(Err(StoreError::TimedOut))
    }

    /// Keeps the connection for the next question if it is sound.
    fn settle(
        &self,
        connection: D::Connection,
        answered: Result<Answer, Error>,
    ) -> Result<Answer, StoreError> {
        let sound = matches!(answered, Ok(_) | Err(Error::Database(_)));
        if sound {
            let mut idle = self.idle();
            idle.push((connection, Instant::now()));
            // The first has waited longest.
            if idle.len() > 1 && idle[0].1.elapsed() > IDLE {
                idle.remove(0);
            }
        }
        answered.map_err(|error| told::<D>(&error))
    }

    fn take(&self) -> Option<D::Connection> {
        self.idle().pop().map(|(connection, _)| connection)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(D::Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<D::Connection, StoreError> {
        self.backoff.may_try(Instant::now())?;
        let connected = timeout(self.limit, async {
            let mut connection = self.options.connect().await?;
            D::limit(&mut connection, self.limit).await?;
            Ok(connection)
        });
        let connected = match connected.await {
            Ok(connected) => connected.map_err(|error| told::<D>(&error)),
            Err(_) => Err(StoreError::TimedOut),
        };
        match &connected {
            Ok(_) => self.backoff.succeeded(),
            Err(why) => self.backoff.failed(Instant::now(), why.clone()),
        }
        connected
    }
}

/// The rows of an answer, and how many were changed.
type Answer = (Vec<Row>, u64);

async fn answer<D: Spoken>(
    connection: &mut D::Connection,
    sql: &'static str,
    values: &[&str],
) -> Result<Answer, Error>
where
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
    D::Arguments: IntoArguments<D>,
    for<'v> String: Encode<'v, D> + Decode<'v, D> + Type<D>,
    usize: sqlx::ColumnIndex<D::Row>,
{
    let mut question = query::<D>(sql);
    for value in values {
        question = question.bind((*value).to_owned());
    }
    if !sql.starts_with("SELECT") {
        let result = connection.execute(question).await?;
        return Ok((Vec::new(), D::changed(&result)));
    }
    let rows = match connection.fetch_all(question).await {
        Err(Error::Database(error)) if matches!(D::meaning(&*error), Meaning::NowhereToBeFound) => {
            return Ok((Vec::new(), 0));
        }
        rows => rows?,
    };
    let texts = |row: &D::Row| (0..row.len()).map(|at| row.try_get(at)).collect();
    Ok((rows.iter().map(texts).collect::<Result<_, _>>()?, 0))
}

impl<D: Spoken> Engine for Remote<D>
where
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
    D::Arguments: IntoArguments<D>,
    for<'v> String: Encode<'v, D> + Decode<'v, D> + Type<D>,
    usize: sqlx::ColumnIndex<D::Row>,
{
    fn statements(&self) -> &'static Statements {
        self.statements
    }

    fn ask<'a>(&'a self, sql: &'static str, values: &'a [&'a str]) -> Reply<'a, Vec<Row>> {
        Box::pin(async move { Ok(self.exchange(sql, values).await?.0) })
    }

    fn tell<'a>(&'a self, sql: &'static str, values: &'a [&'a str]) -> Reply<'a, u64> {
        Box::pin(async move { Ok(self.exchange(sql, values).await?.1) })
    }
}

/// Whether the connection is of no use any more, and the question may be asked again on another.
fn is_broken<D: Spoken>(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Protocol(_) | Error::WorkerCrashed => true,
        Error::Database(error) => matches!(D::meaning(error.as_ref()), Meaning::Stopping),
        _ => false,
    }
}

/// The server's words: no value that was bound and no password is in them.
fn told<D: Spoken>(error: &Error) -> StoreError {
    match error {
        Error::Database(error) => {
            let words = on_one_line(error.message());
            match D::meaning(error.as_ref()) {
                Meaning::Denied => StoreError::Denied(words),
                Meaning::TimedOut => StoreError::TimedOut,
                Meaning::Stopping => StoreError::Unreachable(words),
                Meaning::NowhereToBeFound | Meaning::Other => StoreError::Unusable(words),
            }
        }
        Error::Io(error) => StoreError::Unreachable(error.to_string()),
        Error::Tls(error) => StoreError::Unreachable(format!("TLS: {error}")),
        other => StoreError::Unreachable(other.to_string()),
    }
}
