//! The tables, as a DBA finds them, and how one version of them becomes the next.
//!
//! **How this may change.** A migration is added at the end, and never edited. Each runs in one
//! transaction with the row that says so, and every statement leaves alone what is there already:
//! one that was interrupted runs again. The row is locked meanwhile, so of several replicas that
//! start at once one migrates and the others wait.

use super::session::failed;
use crate::{
    fact::Bucket,
    store::{StoreError, Table},
};
use deadpool_postgres::Object;
use tokio_postgres::error::SqlState;

/// `@` stands for the schema.
const MIGRATIONS: [&[&str]; 4] = [
    // 1: the rows of the log.
    &[
        "CREATE TABLE IF NOT EXISTS @.log_head (
            one boolean PRIMARY KEY DEFAULT true CHECK (one),
            sequence bigint NOT NULL,
            committed_at timestamptz NOT NULL DEFAULT now()
        ) WITH (fillfactor = 50)",
        "COMMENT ON TABLE @.log_head IS
            'one row: the last fact. Every batch locks it first, so commit order is log order'",
        "INSERT INTO @.log_head (sequence) VALUES (0) ON CONFLICT DO NOTHING",
        "CREATE TABLE IF NOT EXISTS @.meta (
            key bytea PRIMARY KEY, value bytea NOT NULL) WITH (fillfactor = 50)",
        "COMMENT ON TABLE @.meta IS 'head of the log and stored format'",
        "CREATE TABLE IF NOT EXISTS @.configuration (key bytea PRIMARY KEY, value bytea NOT NULL)",
        "COMMENT ON TABLE @.configuration IS 'key: sequence, 8 bytes; value: configuration fact'",
        "CREATE TABLE IF NOT EXISTS @.event_ids (key bytea PRIMARY KEY, value bytea NOT NULL)",
        "COMMENT ON TABLE @.event_ids IS 'key: event id, 16 bytes, by time; value: where it is'",
        "CREATE TABLE IF NOT EXISTS @.deliveries (
            key bytea PRIMARY KEY, value bytea NOT NULL) WITH (fillfactor = 80)",
        "COMMENT ON TABLE @.deliveries IS
            'key: lane (4 bytes) and sequence (8 bytes) of the event; value: state and attempts'",
        "CREATE TABLE IF NOT EXISTS @.due (key bytea PRIMARY KEY, value bytea NOT NULL)",
        "COMMENT ON TABLE @.due IS 'key: lane, due time in microseconds (8 bytes), sequence'",
        "CREATE TABLE IF NOT EXISTS @.dead (key bytea PRIMARY KEY, value bytea NOT NULL)",
        "COMMENT ON TABLE @.dead IS 'key: sequence and lane of a dead letter'",
        "CREATE TABLE IF NOT EXISTS @.cursors (key bytea PRIMARY KEY, value bytea NOT NULL)",
        "COMMENT ON TABLE @.cursors IS 'key: lane; value: sequence up to which it was fed'",
        "CREATE TABLE IF NOT EXISTS @.secrets (key bytea PRIMARY KEY, value bytea NOT NULL)",
        "COMMENT ON TABLE @.secrets IS 'key: secret id; value: nonce and sealed bytes'",
    ],
    // 2: who is there.
    &[
        "CREATE TABLE IF NOT EXISTS @.replicas (
            id text PRIMARY KEY,
            format integer NOT NULL,
            version text NOT NULL,
            started_at timestamptz NOT NULL DEFAULT now(),
            heard_at timestamptz NOT NULL DEFAULT now()
        )",
        "COMMENT ON TABLE @.replicas IS
            'processes that write here, and the newest format of facts that each reads'",
        "CREATE TABLE IF NOT EXISTS @.leases (
            role text PRIMARY KEY,
            holder text NOT NULL,
            fence bigint NOT NULL,
            expires_at timestamptz NOT NULL
        )",
        "COMMENT ON TABLE @.leases IS
            'who leads until when; every write of a leader checks holder and fence'",
    ],
    // 3: what operators are told of.
    &[
        "CREATE TABLE IF NOT EXISTS @.notable (key bytea PRIMARY KEY, value bytea NOT NULL)",
        "COMMENT ON TABLE @.notable IS 'key: sequence of a notable traffic fact; value: nothing'",
        "COMMENT ON TABLE @.cursors IS
            'key: lane, or log/ and the name of a follower; value: sequence that was reached'",
    ],
    // 4: what is delivered once more.
    &[
        "CREATE TABLE IF NOT EXISTS @.replays (key bytea PRIMARY KEY, value bytea NOT NULL)",
        "COMMENT ON TABLE @.replays IS
            'key: d, event and delivery made after it, value: nothing; or key: r and replay, value: how far it is'",
    ],
];

/// The version that [`migrate`] leads to.
pub const VERSION: usize = MIGRATIONS.len();

/// Tables that are there from the start.
pub const FIXED: [Table; 10] = [
    Table::Meta,
    Table::Configuration,
    Table::EventIds,
    Table::Deliveries,
    Table::Due,
    Table::Dead,
    Table::Notable,
    Table::Replays,
    Table::Cursors,
    Table::Secrets,
];

/// The name of a table within its schema.
pub fn name_of(table: Table) -> String {
    match table {
        Table::Meta => "meta".into(),
        Table::Configuration => "configuration".into(),
        Table::Traffic(day) => format!("traffic_{day}"),
        Table::Payloads(day) => format!("payloads_{day}"),
        Table::Idempotency(day) => format!("idempotency_{day}"),
        Table::Search(day) => format!("search_{day}"),
        Table::EventIds => "event_ids".into(),
        Table::Deliveries => "deliveries".into(),
        Table::Due => "due".into(),
        Table::Dead => "dead".into(),
        Table::Notable => "notable".into(),
        Table::Replays => "replays".into(),
        Table::Cursors => "cursors".into(),
        Table::Secrets => "secrets".into(),
    }
}

/// The table of a day that has this name.
pub fn day_table_of(name: &str) -> Option<Table> {
    let (kind, day) = name.rsplit_once('_')?;
    let day = Bucket(day.parse().ok()?);
    match kind {
        "traffic" => Some(Table::Traffic(day)),
        "payloads" => Some(Table::Payloads(day)),
        "idempotency" => Some(Table::Idempotency(day)),
        "search" => Some(Table::Search(day)),
        _ => None,
    }
}

/// Is it one of a day, made when it is first written to?
pub const fn is_of_a_day(table: Table) -> bool {
    table.day().is_some()
}

/// Makes the table of a day: dropping it gives its space back at once.
pub fn creation(schema: &str, table: Table) -> String {
    let name = name_of(table);
    format!(
        "CREATE TABLE IF NOT EXISTS {schema}.{name} (key bytea PRIMARY KEY, value bytea NOT NULL)"
    )
}

/// Brings the tables to the version of this program.
pub async fn migrate(client: &Object, schema: &str) -> Result<(), StoreError> {
    make_schema(client, schema).await?;
    loop {
        let version = version_for_update(client, schema).await?;
        let known = i32::try_from(VERSION).unwrap_or(i32::MAX);
        if version > known {
            return Err(StoreError::Newer { found: version, known });
        }
        let next = usize::try_from(version).ok().and_then(|done| MIGRATIONS.get(done));
        let Some(statements) = next else {
            return client.batch_execute("COMMIT").await.map_err(|e| failed(&e));
        };
        tracing::info!(from = version, to = version + 1, "migrating the state database");
        let done = format!("UPDATE {schema}.migrations SET version = {}", version + 1);
        let all = statements.iter().map(|statement| statement.replace('@', schema));
        let all: Vec<_> = all.chain([done, "COMMIT".to_owned()]).collect();
        client.batch_execute(&all.join(";\n")).await.map_err(|e| failed(&e))?;
    }
}

/// Tables of just this program's version.
pub async fn require_current(client: &Object, schema: &str) -> Result<(), StoreError> {
    let question = format!("SELECT version FROM {schema}.migrations");
    let known = i32::try_from(VERSION).unwrap_or(i32::MAX);
    let found = match client.query_one(&question, &[]).await {
        Ok(row) => row.get(0),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
            let why = format!("there is no log in schema `{schema}` of that database");
            return Err(StoreError::Misconfigured(why));
        }
        Err(error) => return Err(failed(&error)),
    };
    match found {
        found if found == known => Ok(()),
        found if found > known => Err(StoreError::Newer { found, known }),
        found => Err(StoreError::Misconfigured(format!(
            "the tables of the state database have version {found}, and this program needs \
             version {known}: use the program that serves it, or start a server of this version, \
             which brings them up to date"
        ))),
    }
}

/// The schema and the row that migrations lock. Two replicas may make them at once: whoever comes
/// second finds them.
async fn make_schema(client: &Object, schema: &str) -> Result<(), StoreError> {
    let there = "SELECT FROM pg_namespace WHERE nspname = $1";
    let statements = [
        format!("CREATE SCHEMA IF NOT EXISTS {schema}"),
        format!(
            "CREATE TABLE IF NOT EXISTS {schema}.migrations (
                one boolean PRIMARY KEY DEFAULT true CHECK (one), version integer NOT NULL)"
        ),
        format!("INSERT INTO {schema}.migrations (version) VALUES (0) ON CONFLICT DO NOTHING"),
    ];
    // Whoever may not make schemas may still be given one.
    let given = client.query_opt(there, &[&schema]).await.map_err(|e| failed(&e))?.is_some();
    for statement in statements.iter().skip(usize::from(given)) {
        make(client, statement).await?;
    }
    Ok(())
}

/// Makes something, unless somebody else does so at the same moment.
pub async fn make(client: &Object, statement: &str) -> Result<(), StoreError> {
    match client.batch_execute(statement).await {
        Err(error) if !made_by_another(&error) => Err(failed(&error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn made_by_another(error: &tokio_postgres::Error) -> bool {
    let made = [
        &SqlState::UNIQUE_VIOLATION,
        &SqlState::DUPLICATE_SCHEMA,
        &SqlState::DUPLICATE_TABLE,
        &SqlState::DUPLICATE_OBJECT,
    ];
    error.code().is_some_and(|code| made.contains(&code))
}

async fn version_for_update(client: &Object, schema: &str) -> Result<i32, StoreError> {
    client.batch_execute("BEGIN").await.map_err(|e| failed(&e))?;
    let question = format!("SELECT version FROM {schema}.migrations FOR UPDATE");
    let row = client.query_one(&question, &[]).await.map_err(|e| failed(&e))?;
    Ok(row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_tables() {
        let day = Bucket(20_777);
        for table in Table::of_day(day) {
            assert_eq!(day_table_of(&name_of(table)), Some(table));
            assert!(is_of_a_day(table));
        }
        for table in FIXED {
            assert_eq!(day_table_of(&name_of(table)), None);
            assert!(!is_of_a_day(table));
        }
    }
}
