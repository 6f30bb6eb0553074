//! Questions: a row, rows by keys, a stretch of a table.

use super::{
    schema::{is_of_a_day, name_of},
    session::failed,
};
use crate::store::{Row, Scan, StoreError, Table};
use bytes::Bytes;
use deadpool_postgres::Object;
use std::{fmt::Write, ops::Bound};
use tokio_postgres::{
    error::SqlState,
    types::{ToSql, Type},
};

/// A question with its answers as rows of key and value.
pub struct Question {
    sql: String,
    parameters: Vec<Parameter>,
    /// Its text is one of few, so the server may remember it.
    lasting: bool,
}

enum Parameter {
    Key(Vec<u8>),
    Keys(Vec<Vec<u8>>),
    Count(i64),
}

impl Parameter {
    fn with_type(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Key(key) => (key, Type::BYTEA),
            Self::Keys(keys) => (keys, Type::BYTEA_ARRAY),
            Self::Count(count) => (count, Type::INT8),
        }
    }
}

impl Question {
    /// One row.
    pub fn get(schema: &str, table: Table, key: &[u8]) -> Self {
        Self::begin(schema, table, "key = $1", vec![Parameter::Key(key.to_vec())])
    }

    /// Those of these that are there.
    pub fn get_many(schema: &str, table: Table, keys: &[Vec<u8>]) -> Self {
        Self::begin(schema, table, "key = ANY($1)", vec![Parameter::Keys(keys.to_vec())])
    }

    /// Rows in order.
    pub fn scan(schema: &str, scan: &Scan) -> Self {
        let mut conditions = String::from("true");
        let mut parameters = Vec::new();
        let bounds = [(&scan.from, [">=", ">"]), (&scan.to, ["<=", "<"])];
        for (bound, [included, excluded]) in bounds {
            let (operator, key) = match bound {
                Bound::Included(key) => (included, key),
                Bound::Excluded(key) => (excluded, key),
                Bound::Unbounded => continue,
            };
            parameters.push(Parameter::Key(key.clone()));
            // Writing into a String cannot fail.
            _ = write!(conditions, " AND key {operator} ${}", parameters.len());
        }
        let order = if scan.reverse { "DESC" } else { "ASC" };
        parameters.push(Parameter::Count(i64::try_from(scan.limit).unwrap_or(i64::MAX)));
        _ = write!(conditions, " ORDER BY key {order} LIMIT ${}", parameters.len());
        let page = Self::begin(schema, scan.table, &conditions, parameters);
        match i64::try_from(scan.bytes) {
            Ok(bytes) if bytes < i64::MAX => page.up_to(bytes, order),
            Ok(_) | Err(_) => page,
        }
    }

    /// Without the rows after so many bytes, which then do not come over the wire.
    fn up_to(mut self, bytes: i64, order: &str) -> Self {
        self.parameters.push(Parameter::Count(bytes));
        let (page, last) = (&self.sql, self.parameters.len());
        let size = "octet_length(key) + octet_length(value)";
        let sql = format!(
            "SELECT key, value FROM (SELECT key, value, \
             sum({size}) OVER (ORDER BY key {order} ROWS UNBOUNDED PRECEDING) - ({size}) AS before \
             FROM ({page}) page) sized WHERE before < ${last} ORDER BY key {order}"
        );
        Self { sql, ..self }
    }

    fn begin(schema: &str, table: Table, rest: &str, parameters: Vec<Parameter>) -> Self {
        let sql = format!("SELECT key, value FROM {schema}.{} WHERE {rest}", name_of(table));
        Self { sql, parameters, lasting: !is_of_a_day(table) }
    }

    /// Asks. A table of a day that was never made has no rows.
    pub async fn ask(&self, client: &Object) -> Result<Vec<Row>, StoreError> {
        let parameters: Vec<_> = self.parameters.iter().map(Parameter::with_type).collect();
        let answer = if self.lasting {
            let statement = client.prepare_cached(&self.sql).await.map_err(|e| failed(&e))?;
            let values: Vec<_> = parameters.iter().map(|(value, _)| *value).collect();
            client.query(&statement, &values).await
        } else {
            client.query_typed(&self.sql, &parameters).await
        };
        let bytes = |row: &tokio_postgres::Row, n| Bytes::copy_from_slice(row.get(n));
        match answer {
            Ok(rows) => Ok(rows.iter().map(|row| (bytes(row, 0), bytes(row, 1))).collect()),
            Err(error) if !self.lasting && error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                Ok(Vec::new())
            }
            Err(error) => Err(failed(&error)),
        }
    }
}
