//! Schemas of their own on the server that `CERTES_TEST_POSTGRES` names, and what is done to its
//! connections behind everybody's back.

use super::{Lent, Postgres, PostgresConfig, Sessions, failed};
use contract::{backoff::Span, secret::Secret};
use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// A schema that goes with this value.
pub(crate) struct Schema {
    pub(crate) name: String,
    pub(crate) url: Secret,
    sessions: Sessions,
}

/// The server; `cargo xtask test --all` starts one.
pub(crate) fn server() -> Secret {
    variable("CERTES_TEST_POSTGRES")
}

pub(crate) fn variable(name: &str) -> Secret {
    #[expect(clippy::disallowed_methods, reason = "the way by which tests are told of servers")]
    let value = std::env::var(name);
    Secret::new(value.unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test --all`")))
}

impl Schema {
    pub(crate) fn new() -> Self {
        Self::on(server())
    }

    pub(crate) fn on(url: Secret) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        let sessions = Sessions::new(&url, &PostgresConfig::default()).unwrap();
        let schema = Self { name, url, sessions };
        // A process of the same number may have left one.
        schema.run("DROP SCHEMA IF EXISTS @ CASCADE");
        schema
    }

    /// One whose stores' connections have its name.
    pub(crate) fn named_connections() -> Self {
        let mut schema = Self::new();
        // Exposed to be connected with.
        let url = schema.url.expose();
        let join = if url.contains('?') { '&' } else { '?' };
        schema.url = Secret::new(format!("{url}{join}application_name={}", schema.name));
        schema
    }

    pub(crate) fn config(&self) -> PostgresConfig {
        PostgresConfig {
            schema: self.name.clone(),
            connections_max: 3,
            poll: Span(Duration::from_millis(20)),
            lease: Span(Duration::from_secs(3)),
            ..PostgresConfig::default()
        }
    }

    pub(crate) fn open(&self) -> Postgres {
        self.open_as("one")
    }

    pub(crate) fn open_as(&self, replica: &str) -> Postgres {
        Postgres::open(&self.url, self.config(), replica.into()).unwrap()
    }

    /// Runs statements; `@` is the schema.
    pub(crate) fn run(&self, sql: &str) {
        self.try_run(sql).unwrap();
    }

    pub(crate) fn try_run(&self, sql: &str) -> Result<(), super::StoreError> {
        let (pool, sql) = (self.sessions.writing.clone(), sql.replace('@', &self.name));
        self.sessions.wait(Duration::from_secs(30), async move {
            let client = Lent::from(&pool).await?;
            client.batch_execute(&sql).await.map_err(|e| failed(&e))?;
            client.give_back();
            Ok(())
        })
    }

    /// A number, asked for by a query.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        let (pool, sql) = (self.sessions.writing.clone(), sql.replace('@', &self.name));
        let asked = self.sessions.wait(Duration::from_secs(30), async move {
            let client = Lent::from(&pool).await?;
            let row = client.query_one(&sql, &[]).await.map_err(|e| failed(&e))?;
            client.give_back();
            Ok(row.get(0))
        });
        asked.unwrap()
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        // A server that is gone takes it along.
        drop(self.try_run("DROP SCHEMA IF EXISTS @ CASCADE"));
    }
}
