//! Changes that may be sent again: `clientMutationId`, an argument that each field gets here and
//! none declares.

use super::{access::Result, mutation::Mutation};
use async_graphql::{
    ContainerType, Context, ContextSelectionSet, ObjectType, OutputType, Positioned, ServerResult,
    Value,
    parser::types::Field,
    registry::{MetaInputValue, MetaType, Registry},
};
use std::borrow::Cow;

const ARGUMENT: &str = "clientMutationId";
const MEANING: &str = "Sent again with the same arguments within 24 hours: the same is answered, \
without secrets, and nothing is changed. With others: `idempotency_conflict`.";
/// What is more, or less, than changes of the configuration: each does no harm when it is repeated,
/// or is meant to happen each time.
const WITHOUT: [&str; 12] = [
    "resendDelivery",
    "resubmitEvent",
    "publishSchema",
    "publishSchemas",
    "deleteSchema",
    "rotateSecretKey",
    "testSubscription",
    "runRetention",
    "eraseEvent",
    "eraseSubscriber",
    "startReplay",
    "cancelReplay",
];

/// All changes, each of which takes the argument.
#[derive(Debug, Default)]
pub struct Once(Mutation);

impl OutputType for Once {
    fn type_name() -> Cow<'static, str> {
        Mutation::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        let name = Mutation::create_type_info(registry);
        let of_argument = <Option<String> as async_graphql::InputType>::create_type_info(registry);
        let mutation = registry.types.get_mut(&*Mutation::type_name());
        if let Some(MetaType::Object { fields, .. }) = mutation {
            let fields = fields.iter_mut().filter(|(name, _)| !WITHOUT.contains(&name.as_str()));
            for (_, field) in fields {
                field.args.insert(ARGUMENT.to_owned(), argument(&of_argument));
            }
        }
        name
    }

    async fn resolve(
        &self,
        context: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        self.0.resolve(context, field).await
    }
}

impl ContainerType for Once {
    async fn resolve_field(&self, context: &Context<'_>) -> ServerResult<Option<Value>> {
        self.0.resolve_field(context).await
    }
}

impl ObjectType for Once {}

fn argument(ty: &str) -> MetaInputValue {
    MetaInputValue {
        name: ARGUMENT.to_owned(),
        description: Some(MEANING.to_owned()),
        ty: ty.to_owned(),
        deprecation: async_graphql::registry::Deprecation::NoDeprecated,
        default_value: None,
        visible: None,
        inaccessible: false,
        tags: Vec::new(),
        is_secret: false,
        directive_invocations: Vec::new(),
    }
}

/// The id under which the change in hand was sent.
pub(super) fn key(context: &Context<'_>) -> Result<Option<String>> {
    let arguments = context.field().arguments()?;
    let given = arguments.into_iter().find(|(name, _)| name == ARGUMENT);
    Ok(match given {
        Some((_, Value::String(id))) => Some(id),
        _ => None,
    })
}
