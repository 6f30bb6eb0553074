//! Who may do what: every operation against every role, through the real doors. An operation
//! without a row fails, so that none comes to be without somebody having thought of it.

mod commands;

use bytes::Bytes;
use commands::commands;
use contract::{
    access::Roles,
    command::{Changeset, Command},
    secret::Secret,
    subscription::Subscriber,
};
use http::{Request, uri::PathAndQuery};
use prost::Message;
use prost_types::FileDescriptorSet;
use proto::v1::{ExecuteRequest, configuration_client::ConfigurationClient};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use tests::{Deployment, Wiring, call, stories};
use tonic::{
    client::Grpc,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

stories!(every_operation_against_every_role);

/// What an operation needs (roles, with spaces between), and whether a key of one subscriber has it, too.
const GRAPHQL: &[(&str, &str, bool, &str)] = &[
    // Questions.
    ("version", ANY, true, "{ version }"),
    ("me", ANY, true, "{ me { name } }"),
    ("events", "events:read", false, "{ events { nodes { id } } }"),
    ("quarantine", "events:read", false, "{ quarantine { nodes { id } } }"),
    ("event", "events:read", false, "{ event(id: \"x\") { id } }"),
    ("deliveries", "subscriptions:read", true, "{ deliveries { nodes { id } } }"),
    ("deadLetters", "subscriptions:read", true, "{ deadLetters { nodes { id } } }"),
    ("delivery", "subscriptions:read", true, "{ delivery(id: \"x\") { id } }"),
    ("replays", "subscriptions:read", false, "{ replays { id } }"),
    ("replay", "subscriptions:read", false, "{ replay(id: \"x\") { id } }"),
    ("previewedReplay", "subscriptions:read", false, "{ previewedReplay(input: {}) { made } }"),
    ("subscriptions", "subscriptions:read", true, "{ subscriptions { name } }"),
    ("subscribers", "subscriptions:read", false, "{ subscribers { id } }"),
    ("eventTypes", "schemas:read", false, "{ eventTypes { uri } }"),
    ("backoffs", "backoffs:read", false, "{ backoffs { target } }"),
    ("sources", "sources:read", false, "{ sources { name } }"),
    ("keys", "keys:read", false, "{ keys { name } }"),
    ("users", "users:read", false, "{ users { name } }"),
    ("stats", "events:read", false, "{ stats { accepted } }"),
    ("schemas", "schemas:read", true, "{ schemas { uri } }"),
    ("schema", "schemas:read", true, "{ schema(uri: \"a/1/b\") { uri } }"),
    ("schemaVersions", "schemas:read", true, "{ schemaVersions(uri: \"a/1/b\") { uri } }"),
    (
        "checkSchema",
        "schemas:read",
        false,
        "{ checkSchema(input: {uri: \"a/1/b\", files: []}) { __typename } }",
    ),
    (
        "checkSchemas",
        "schemas:read",
        false,
        "{ checkSchemas(input: {schemas: []}) { __typename } }",
    ),
    ("retentionPlan", "config:read", false, "{ retentionPlan { age } }"),
    ("settings", "config:read", false, "{ settings { key } }"),
    ("setting", "config:read", false, "{ setting(key: \"x\") { key } }"),
    ("log", "config:read", false, "{ log { nodes { kind } } }"),
    ("stateAt", "config:read", false, "{ stateAt { __typename } }"),
    ("history", "config:read", false, "{ history(kind: \"source\", name: \"x\") { __typename } }"),
    (
        "why",
        "events:read subscriptions:read",
        false,
        "{ why(event: \"x\", subscription: \"x\") { verdict } }",
    ),
    // Changes. What they name is not there, so that whoever may makes none.
    (
        "createSource",
        "sources:write",
        false,
        "mutation { createSource(input: {name: \"/\", verify: \"none\", eventType: \"a/1/b\"}) \
         { name } }",
    ),
    (
        "updateSource",
        "sources:write",
        false,
        "mutation { updateSource(input: {name: \"/\", verify: \"none\", eventType: \"a/1/b\"}) \
         { name } }",
    ),
    ("deleteSource", "sources:write", false, "mutation { deleteSource(name: \"x\") }"),
    ("putSubscriber", "subscriptions:write", false, "mutation { putSubscriber(id: \"\") { id } }"),
    ("deleteSubscriber", "subscriptions:write", false, "mutation { deleteSubscriber(id: \"x\") }"),
    ("putEventType", "schemas:write", false, "mutation { putEventType(uri: \"x\") { uri } }"),
    ("deleteEventType", "schemas:write", false, "mutation { deleteEventType(uri: \"a/1/b\") }"),
    (
        "putBackoff",
        "backoffs:write",
        false,
        "mutation { putBackoff(target: \"x\", direction: \"incoming\", \
         policy: {kind: \"linear\", base: \"10s\", max_retries: 20}) { target } }",
    ),
    (
        "deleteBackoff",
        "backoffs:write",
        false,
        "mutation { deleteBackoff(target: \"source:x\", direction: \"incoming\") }",
    ),
    (
        "createSubscription",
        "subscriptions:write",
        true,
        "mutation { createSubscription(input: {name: \"\", url: \"x\", events: []}) { secret } }",
    ),
    (
        "updateSubscription",
        "subscriptions:write",
        true,
        "mutation { updateSubscription(input: {name: \"\", url: \"x\", events: []}) { secret } }",
    ),
    (
        "pauseSubscription",
        "subscriptions:write",
        true,
        "mutation { pauseSubscription(name: \"x\") { name } }",
    ),
    (
        "resumeSubscription",
        "subscriptions:write",
        true,
        "mutation { resumeSubscription(name: \"x\") { name } }",
    ),
    (
        "disableSubscription",
        "subscriptions:write",
        true,
        "mutation { disableSubscription(name: \"x\") { name } }",
    ),
    (
        "deleteSubscription",
        "subscriptions:write",
        true,
        "mutation { deleteSubscription(name: \"x\") }",
    ),
    (
        "rotateSubscriptionSecret",
        "subscriptions:write",
        true,
        "mutation { rotateSubscriptionSecret(name: \"x\") { secret } }",
    ),
    (
        "revealSubscriptionSecret",
        "subscriptions:write",
        true,
        "mutation { revealSubscriptionSecret(name: \"x\") { secret } }",
    ),
    (
        "testSubscription",
        "subscriptions:write",
        true,
        "mutation { testSubscription(name: \"x\") { type } }",
    ),
    (
        "ensureSubscriptions",
        "subscriptions:write",
        true,
        "mutation { ensureSubscriptions(subscriptions: [{name: \"\", url: \"x\", events: []}]) \
         { kind } }",
    ),
    (
        "resendDelivery",
        "subscriptions:read subscriptions:write",
        false,
        "mutation { resendDelivery(id: \"x\") { id } }",
    ),
    ("startReplay", "subscriptions:write", false, "mutation { startReplay(input: {}) { id } }"),
    ("cancelReplay", "subscriptions:write", false, "mutation { cancelReplay(id: \"x\") { id } }"),
    (
        "resubmitEvent",
        "events:read events:write",
        false,
        "mutation { resubmitEvent(id: \"x\") { id } }",
    ),
    (
        "createKey",
        "keys:write",
        false,
        "mutation { createKey(name: \"\", roles: [\"keys:write\"]) { token } }",
    ),
    ("revokeKey", "keys:write", false, "mutation { revokeKey(id: \"x\") }"),
    ("rotateTokenKey", "keys:write", false, "mutation { rotateTokenKey }"),
    (
        "createUser",
        "users:write",
        false,
        "mutation { createUser(input: {name: \"x\", password: \"short\", \
         roles: [\"users:write\"]}) { id } }",
    ),
    (
        "setUserRoles",
        "users:write",
        false,
        "mutation { setUserRoles(name: \"x\", roles: [\"users:write\"]) { id } }",
    ),
    (
        "setPassword",
        "users:write",
        false,
        "mutation { setPassword(name: \"x\", password: \"short\") { id } }",
    ),
    (
        "setUserDisabled",
        "users:write",
        false,
        "mutation { setUserDisabled(name: \"x\", disabled: true) { id } }",
    ),
    ("deleteUser", "users:write", false, "mutation { deleteUser(name: \"x\") }"),
    ("runRetention", "config:write", false, "mutation { runRetention { __typename } }"),
    ("eraseEvent", "config:write", false, "mutation { eraseEvent(id: \"x\") { __typename } }"),
    (
        "eraseSubscriber",
        "config:write",
        false,
        "mutation { eraseSubscriber(id: \"nobody\") { __typename } }",
    ),
    ("rotateStampKey", "config:write", false, "mutation { rotateStampKey }"),
    (
        "setSetting",
        "config:write",
        false,
        "mutation { setSetting(key: \"x\", value: \"1\") { key } }",
    ),
    ("resetSetting", "config:write", false, "mutation { resetSetting(key: \"x\") { key } }"),
    ("rotateSecretKey", "config:write", false, "mutation { rotateSecretKey }"),
    (
        "publishSchema",
        "schemas:write",
        false,
        "mutation { publishSchema(input: {uri: \"a/1/b\", files: []}) { __typename } }",
    ),
    (
        "publishSchemas",
        "schemas:write",
        false,
        "mutation { publishSchemas(input: {schemas: []}) { __typename } }",
    ),
    ("deleteSchema", "schemas:write", false, "mutation { deleteSchema(uri: \"a/1/b\") }"),
];

/// gRPC, with an empty message.
const GRPC: &[(&str, &str, bool)] = &[
    ("EventBroker/HandleIncomingEvent", "events:write", false),
    ("EventBroker/SendOutgoingEvent", "events:write", true),
    ("EventBroker/Resubmit", "events:write", false),
    ("EventBroker/TestFire", "subscriptions:write", true),
    ("Events/Get", "events:read", false),
    ("Events/GetPayload", "events:read", false),
    ("Events/GetPayloadState", "events:read", false),
    ("Events/BatchGetPayloadStates", "events:read", false),
    ("Events/List", "events:read", false),
    ("Events/ListDeliveries", "subscriptions:read", false),
    ("Events/BatchGet", "events:read", false),
    ("Events/BatchListDeliveries", "subscriptions:read", false),
    ("Deliveries/Get", "subscriptions:read", true),
    ("Deliveries/GetExchanges", "subscriptions:read", true),
    ("Deliveries/List", "subscriptions:read", true),
    ("Deliveries/Resend", "subscriptions:read subscriptions:write", true),
    ("Deliveries/GetStats", "events:read", false),
    ("Replays/Preview", "subscriptions:read", false),
    ("Replays/Start", "subscriptions:write", false),
    ("Replays/Cancel", "subscriptions:write", false),
    ("Replays/Get", "subscriptions:read", false),
    ("Replays/List", "subscriptions:read", false),
    ("SchemaRegistry/Get", "schemas:read", false),
    ("SchemaRegistry/List", "schemas:read", false),
    ("SchemaRegistry/Publish", "schemas:write", false),
    ("SchemaRegistry/Check", "schemas:read", false),
    ("SchemaRegistry/Announce", "schemas:write", false),
    ("SchemaRegistry/ListPeerMarks", "schemas:read", false),
    ("SchemaRegistry/PublishAll", "schemas:write", false),
    ("SchemaRegistry/CheckAll", "schemas:read", false),
    ("SchemaRegistry/GetVersion", "schemas:read", false),
    ("SchemaRegistry/ListVersions", "schemas:read", false),
    ("SchemaRegistry/Diff", "schemas:read", false),
    ("SchemaRegistry/Delete", "schemas:write", false),
    ("SchemaRegistry/Ping", "schemas:read", false),
    // What it needs depends on its commands (`contract::permit`).
    ("Configuration/Execute", ANY, true),
    ("Configuration/EnsureSubscriptions", "subscriptions:write", true),
    ("Configuration/ListSources", "sources:read", false),
    ("Configuration/ListSubscriptions", "subscriptions:read", true),
    ("Configuration/ListSubscribers", "subscriptions:read", false),
    ("Configuration/ListEventTypes", "schemas:read", false),
    ("Configuration/ListBackoffs", "backoffs:read", false),
    ("Configuration/ListSchemas", "schemas:read", false),
    ("Configuration/ListKeys", "keys:read", false),
    ("Configuration/ListSettings", "config:read", false),
    ("Configuration/ListUsers", "users:read", false),
    ("Configuration/RotateSecretKey", "config:write", false),
    ("Retention/GetPlan", "config:read", false),
    ("Retention/Run", "config:write", false),
    ("Retention/EraseEvent", "config:write", false),
    ("Retention/EraseSubscriber", "config:write", false),
    ("LogService/List", "config:read", false),
    ("LogService/GetHead", "config:read", false),
    ("Live/FollowEvents", "events:read", false),
    ("Pull/Subscribe", "subscriptions:write", true),
    ("Past/Why", "events:read subscriptions:read", false),
    ("Past/GetStateAt", "config:read", false),
    ("Past/ListHistory", "config:read", false),
];

/// HTTP below `/api`, beside GraphQL.
const HTTP: &[(&str, &str, &str, bool)] = &[
    ("GET", "/api/schema/a/1/b", "schemas:read", true),
    ("POST", "/api/login", OPEN, true),
    ("POST", "/api/login/renew", TOKEN, true),
    ("GET", "/api/.well-known/jwks.json", OPEN, true),
];

/// Any key or token.
const ANY: &str = "any";
/// Not even an administrator.
const NOBODY: &str = "nobody";
/// Nothing at all.
const OPEN: &str = "open";
/// A token of a user; a key is none.
const TOKEN: &str = "token";

/// Somebody who calls.
struct Caller {
    name: String,
    roles: Roles,
    scoped: bool,
    token: Option<Secret>,
}

impl Caller {
    fn may(&self, needs: &str, scoped: bool) -> bool {
        let (names, needed) = (self.roles.names(), || Roles::parse(needs.split(' ')).unwrap());
        match needs {
            OPEN => true,
            TOKEN | NOBODY => false,
            _ if self.token.is_none() => false,
            ANY => true,
            _ => {
                let has = needed().names().iter().all(|role| names.contains(role));
                has && (scoped || !self.scoped)
            }
        }
    }
}

/// One for each role, one with all of them, one with all of them for a single subscriber, and nobody.
async fn callers(certes: &Deployment) -> Vec<Caller> {
    let mut callers: Vec<_> = Roles::admin()
        .names()
        .into_iter()
        .map(|role| (role.clone(), Roles::parse([role.as_str()]).unwrap(), None))
        .collect();
    callers.push(("everything".into(), Roles::admin(), None));
    callers.push(("tenant".into(), Roles::admin(), Some("org_1".to_owned())));
    let subscriber = Subscriber { id: "org_1".into(), name: String::new() };
    let issue = |(name, roles, subscriber): &(String, Roles, Option<String>)| Command::IssueKey {
        name: name.clone(),
        roles: roles.clone(),
        subscriber: subscriber.clone(),
        expires_at: None,
    };
    let commands = [Command::PutSubscriber(subscriber)].into_iter();
    let commands = commands.chain(callers.iter().map(issue)).collect();
    let changes = Changeset { commands, ..Changeset::default() };
    let made = certes.remote().await.unwrap().execute(changes).await.unwrap();
    let tokens = made.into_iter().skip(1).map(|change| change.revealed);
    let nobody =
        Caller { name: "nobody".into(), roles: Roles::default(), scoped: false, token: None };
    let with_tokens = callers.into_iter().zip(tokens).map(|((name, roles, subscriber), token)| {
        Caller { name, roles, scoped: subscriber.is_some(), token }
    });
    with_tokens.chain([nobody]).collect()
}

const REFUSALS: [&str; 2] = ["permission_denied", "unauthenticated"];

async fn http(
    certes: &Deployment,
    caller: &Caller,
    (method, path, body): (&str, &str, String),
) -> bool {
    let mut request = Request::builder().method(method).uri(format!("{}{path}", certes.http));
    request = request.header("content-type", "application/json");
    if let Some(token) = &caller.token {
        request = request.header("authorization", format!("Bearer {}", token.expose()));
    }
    let answer = call(request.body(Bytes::from(body)).unwrap()).await.unwrap().json();
    let code = answer["code"].as_str().or(answer["errors"][0]["extensions"]["code"].as_str());
    assert_ne!(code, Some("internal"), "{path} {answer}");
    !code.is_some_and(|code| REFUSALS.contains(&code))
}

async fn grpc(channel: &Channel, caller: &Caller, path: &str) -> bool {
    let mut request = tonic::Request::new(());
    bear(&mut request, caller);
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = PathAndQuery::try_from(format!("/certes.v1.{path}")).unwrap();
    let codec = ProstCodec::<(), ()>::default();
    // A stream may stay open: it is enough that it was opened.
    match client.server_streaming::<(), (), _>(request, path, codec).await {
        Ok(_opened) => true,
        Err(status) => let_in(&status),
    }
}

/// Names of all fields of queries and mutations, as the server itself tells them.
async fn graphql_fields(certes: &Deployment) -> BTreeSet<String> {
    let query = "{ __schema { queryType { fields { name } } mutationType { fields { name } } } }";
    let told = certes.graphql(query).await.unwrap();
    let fields = |kind: &str| told["__schema"][kind]["fields"].as_array().unwrap().clone();
    let all = fields("queryType").into_iter().chain(fields("mutationType"));
    all.map(|field| field["name"].as_str().unwrap().to_owned()).collect()
}

fn grpc_methods() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(proto::PUBLIC_DESCRIPTORS).unwrap();
    let services = set.file.iter().filter(|file| file.package() == "certes.v1");
    let methods = services.flat_map(|file| &file.service).flat_map(|service| {
        let name = |method: &prost_types::MethodDescriptorProto| {
            format!("{}/{}", service.name(), method.name())
        };
        service.method.iter().map(name).collect::<Vec<_>>()
    });
    methods.collect()
}

/// Names of the kinds of commands.
fn command_kinds() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(proto::PUBLIC_DESCRIPTORS).unwrap();
    let messages = set.file.iter().flat_map(|file| &file.message_type);
    let command = messages.into_iter().find(|message| message.name() == "Command").unwrap();
    command.field.iter().map(|field| field.name().to_owned()).collect()
}

async fn execute(channel: &Channel, caller: &Caller, command: Command) -> bool {
    let changes = Changeset { commands: vec![command], dry_run: true, ..Changeset::default() };
    let mut request = tonic::Request::new(ExecuteRequest { changeset: Some(changes.into()) });
    bear(&mut request, caller);
    match ConfigurationClient::new(channel.clone()).execute(request).await {
        Ok(_done) => true,
        Err(status) => let_in(&status),
    }
}

fn bear<T>(request: &mut tonic::Request<T>, caller: &Caller) {
    if let Some(token) = &caller.token {
        let bearer: MetadataValue<_> = format!("Bearer {}", token.expose()).parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
    }
}

/// Was the call refused for another reason than its caller?
fn let_in(status: &tonic::Status) -> bool {
    !REFUSALS.contains(&proto::status::error(status).code.as_str())
}

async fn every_operation_against_every_role(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    let rows: BTreeSet<_> = GRAPHQL.iter().map(|(field, ..)| (*field).to_owned()).collect();
    assert_eq!(rows, graphql_fields(&certes).await, "every field of GraphQL has a row");
    let rows: BTreeSet<_> = GRPC.iter().map(|(method, ..)| (*method).to_owned()).collect();
    assert_eq!(rows, grpc_methods(), "every method of gRPC has a row");

    let rows: BTreeSet<_> = commands().iter().map(|(kind, ..)| (*kind).to_owned()).collect();
    assert_eq!(rows, command_kinds(), "every kind of command has a row");

    let channel = Endpoint::from_shared(certes.grpc.clone()).unwrap().connect().await.unwrap();
    let mut wrong = BTreeMap::new();
    let mut note = |operation: &str, caller: &Caller, may: bool, did: bool| {
        if may != did {
            wrong.insert(format!("{operation} as {}", caller.name), (may, did));
        }
    };
    for caller in callers(&certes).await {
        for (field, needs, scoped, query) in GRAPHQL {
            let body = json!({ "query": query }).to_string();
            let did = http(&certes, &caller, ("POST", "/api/graphql", body)).await;
            note(field, &caller, caller.may(needs, *scoped), did);
        }
        for (method, needs, scoped) in GRPC {
            let did = grpc(&channel, &caller, method).await;
            note(method, &caller, caller.may(needs, *scoped), did);
        }
        for (kind, needs, scoped, command) in commands() {
            let did = execute(&channel, &caller, command).await;
            note(kind, &caller, caller.may(needs, scoped), did);
        }
        for (method, path, needs, scoped) in HTTP {
            let did = http(&certes, &caller, (method, path, String::new())).await;
            note(path, &caller, caller.may(needs, *scoped), did);
        }
    }
    assert!(wrong.is_empty(), "(may, did): {wrong:#?}");
    certes.stop().await.unwrap();
}
