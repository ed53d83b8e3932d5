//! A stream in Redis: one entry for each record.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, cmd, pipe};
use tokio::time::timeout;

use super::deliver::{Deliver, Delivery, Refused};
use super::line::{id_of, kind_of};
use super::settings;
use crate::store::{StoreError, redis_client, redis_told};
use crate::worker::RecordKind;

/// How long a batch may take, a new connection with it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where entries are added.
pub(super) struct Redis {
    client: Client,
    stream: String,
    most: u64,
    connection: Option<MultiplexedConnection>,
}

impl Redis {
    /// `None` when there is none.
    ///
    /// # Errors
    /// The URL cannot be understood, or the certificate in it cannot be read.
    pub(super) fn new(settings: &settings::Redis) -> Result<Option<Self>, StoreError> {
        let Some(url) = &settings.url else {
            return Ok(None);
        };
        let client = redis_client(url.expose())?;
        let (stream, most) = (settings.stream.clone(), settings.max_length);
        Ok(Some(Self { client, stream, most, connection: None }))
    }

    async fn add(&mut self, lines: &[String]) -> Result<(), RedisError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let limits = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(TIMEOUT))
                    .set_response_timeout(Some(TIMEOUT));
                self.client.get_multiplexed_async_connection_with_config(&limits).await?
            }
        };
        let mut all = pipe();
        // All or none, so that less comes twice.
        all.atomic();
        for line in lines {
            let mut add = cmd("XADD");
            add.arg(&self.stream);
            if self.most > 0 {
                add.arg("MAXLEN").arg("~").arg(self.most);
            }
            let kind = kind_of(line).map_or("", RecordKind::label);
            add.arg("*").arg("id").arg(id_of(line)).arg("kind").arg(kind).arg("record").arg(line);
            all.add_command(add).ignore();
        }
        all.query_async::<()>(&mut connection).await?;
        self.connection = Some(connection);
        Ok(())
    }
}

impl Deliver for Redis {
    fn deliver<'a>(&'a mut self, lines: &'a [String]) -> Delivery<'a> {
        Box::pin(async move {
            let told = match timeout(TIMEOUT, self.add(lines)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => redis_told(&error),
                Err(_) => StoreError::TimedOut,
            };
            Err(Refused { why: told.to_string(), too_large: false })
        })
    }
}
