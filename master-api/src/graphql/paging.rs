//! Connections: pages with a cursor, newest first; facts oldest first.

use super::access::{Result, invalid};
use async_graphql::{OutputType, SimpleObject};
use contract::{limits, master_api::PageRequest};

/// Where a page ends.
#[derive(Debug, Clone, SimpleObject)]
pub(super) struct PageInfo {
    /// Is there another page after it?
    has_next_page: bool,
    /// Pass it as `after` to get the next page.
    end_cursor: Option<String>,
}

/// A page.
#[derive(Debug, SimpleObject)]
#[graphql(concrete(name = "EventConnection", params(super::events::EventNode)))]
#[graphql(concrete(name = "FactConnection", params(super::log::FactNode)))]
#[graphql(concrete(name = "DeliveryConnection", params(super::nodes::DeliveryNode)))]
pub(super) struct Connection<T: OutputType> {
    /// The objects.
    nodes: Vec<T>,
    /// Where it ends.
    page_info: PageInfo,
}

impl<T: OutputType> Connection<T> {
    /// A page of these objects.
    pub(super) fn new(nodes: Vec<T>, next: Option<String>) -> Self {
        Self { nodes, page_info: PageInfo { has_next_page: next.is_some(), end_cursor: next } }
    }
}

/// The page that was asked for.
pub(super) fn request(first: Option<i32>, after: Option<String>) -> Result<PageRequest> {
    let first = match first {
        None => limits::PAGE_DEFAULT,
        Some(first) => u32::try_from(first)
            .ok()
            .filter(|first| (1..=limits::PAGE_MAX).contains(first))
            .ok_or_else(|| invalid(format!("`first` is 1 to {}", limits::PAGE_MAX)))?,
    };
    Ok(PageRequest { first, after })
}
