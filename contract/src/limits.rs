//! Every bound that is not a setting, with the relations between them.

use std::time::Duration;

/// Longest event URI in bytes.
pub const EVENT_URI_LENGTH_MAX: usize = 255;
/// Most segments of an event URI or of a pattern.
pub const EVENT_URI_SEGMENTS_MAX: usize = 16;
/// Longest name of a source, subscription, subscriber or key in bytes.
pub const NAME_LENGTH_MAX: usize = 128;
/// Longest idempotency key in bytes.
pub const IDEMPOTENCY_KEY_LENGTH_MAX: usize = 255;
/// Most headers kept with an event.
pub const HEADERS_KEPT_MAX: usize = 64;
/// Most bytes of all kept header names and values of one event.
pub const HEADERS_KEPT_BYTES_MAX: usize = 16 * 1024;
/// Default bound of a request body in bytes.
pub const BODY_BYTES_MAX_DEFAULT: usize = 5 * 1024 * 1024;
/// Bound of a request body of GitHub in bytes: GitHub itself caps its payloads there.
/// Source: docs.github.com, "Webhook events and payloads".
pub const BODY_BYTES_MAX_GITHUB: usize = 25 * 1024 * 1024;
/// Most hops an event may have made through webhook servers.
pub const HOPS_MAX: u8 = 8;
/// Violations listed in one refusal.
pub const VIOLATIONS_MAX: usize = 100;
/// Differences between two versions that the answer to a publication or a check lists.
pub const DIFFERENCES_LISTED_MAX: usize = 500;
/// Subscriptions that the answer to a publication or a check names.
pub const SUBSCRIPTIONS_NAMED_MAX: usize = 100;
/// Most subscriptions of one event whose deliveries are stored with the event itself.
pub const DELIVERIES_INLINE_MAX: usize = 10_000;
/// Most events that one replay may name.
pub const REPLAY_EVENTS_MAX: usize = 1_000;
/// Replays that are not over at once.
pub const REPLAYS_RUNNING_MAX: usize = 64;
/// Replays that are over and still known: the newest.
pub const REPLAYS_KEPT_MAX: usize = 400;
/// Rows that the preview of a replay looks at.
pub const REPLAY_PREVIEW_ROWS_MAX: u64 = 1_000_000;
/// Most rows of one page of any listing.
pub const PAGE_MAX: u32 = 500;
/// Rows of a page when none are asked for.
pub const PAGE_DEFAULT: u32 = 50;
/// Longest wait for new facts in one request.
pub const LOG_WAIT_MAX: Duration = Duration::from_secs(5);
/// Most kinds of facts that a request for facts may name.
pub const LOG_KINDS_MAX: usize = 64;
/// Most followers of the log with a durable cursor.
pub const LOG_FOLLOWERS_MAX: usize = 32;
/// Bytes of a response body read before it is given up as too large.
pub const RESPONSE_BODY_BYTES_MAX: usize = 64 * 1024;
/// A page of what went over the wire ends after so many bytes.
pub const EXCHANGES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long an idempotency key is remembered, in hours.
pub const IDEMPOTENCY_HOURS: u64 = 24;
/// Most patterns of one subscription.
pub const PATTERNS_MAX: usize = 64;
/// Most subscriptions that one declaration may ensure.
pub const ENSURED_MAX: usize = 1_000;
/// Longest wait for the first attempt of a test.
pub const TEST_WAIT_MAX: Duration = Duration::from_secs(20);
/// Most valid secrets of one source or subscription at once.
pub const SECRETS_MAX: usize = 8;
/// How long a signing secret goes on signing beside the one that takes its place, when nothing
/// else is said.
pub const SECRET_KEPT_DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// Longest that it can.
pub const SECRET_KEPT_MAX: Duration = Duration::from_secs(90 * 24 * 3600);
/// Most headers that a subscription adds to its deliveries.
pub const CUSTOM_HEADERS_MAX: usize = 32;
/// Most bytes of their names and values together.
pub const CUSTOM_HEADERS_BYTES_MAX: usize = 8 * 1024;
/// Longest user name, client id, audience or scope of a subscription's `auth`, in bytes.
pub const AUTH_TEXT_LENGTH_MAX: usize = 255;
/// Most scopes of a subscription's `auth`.
pub const SCOPES_MAX: usize = 32;
/// Longest secret of a subscription's `auth` in bytes: a private key of 8,192 bits in PEM fits.
pub const AUTH_SECRET_BYTES_MAX: usize = 8 * 1024;
/// Longest client certificate with those above it, in PEM, in bytes.
pub const CERTIFICATES_BYTES_MAX: usize = 32 * 1024;
/// Largest gRPC message in bytes: a body of GitHub and its headers fit.
pub const GRPC_MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most deliveries that one receiver holds at once.
pub const PULL_IN_FLIGHT_MAX: u32 = 1_000;
/// How long a receiver may hold a delivery, when nothing else is said.
pub const PULL_LEASE_DEFAULT: Duration = Duration::from_secs(30);
/// Shortest lease of a receiver.
pub const PULL_LEASE_MIN: Duration = Duration::from_secs(1);
/// Longest lease of a receiver, and longest extension.
pub const PULL_LEASE_MAX: Duration = Duration::from_secs(3600);

const _: () = assert!(BODY_BYTES_MAX_DEFAULT <= BODY_BYTES_MAX_GITHUB);
const _: () = assert!(BODY_BYTES_MAX_GITHUB + HEADERS_KEPT_BYTES_MAX < GRPC_MESSAGE_BYTES_MAX);
const _: () = assert!(CUSTOM_HEADERS_BYTES_MAX < HEADERS_KEPT_BYTES_MAX);
const _: () = assert!(
    EXCHANGES_BYTES_MAX + RESPONSE_BODY_BYTES_MAX + PAGE_MAX as usize * 2 * HEADERS_KEPT_BYTES_MAX
        < GRPC_MESSAGE_BYTES_MAX,
    "the headers that are usual for an attempt come to each row of a page"
);
const _: () = assert!(PAGE_DEFAULT <= PAGE_MAX);
const _: () = assert!(REPLAYS_RUNNING_MAX + REPLAYS_KEPT_MAX <= PAGE_MAX as usize);
