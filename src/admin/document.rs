//! The API's description, made of the handlers' annotations.

use axum::response::Response;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::Ref;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Components, Content, InfoBuilder, OpenApi, OpenApiBuilder, RefOr, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::api::{Failure, Problem};
use super::guard::{COOKIE, SESSION_KEY};
use super::refusal::json;
use super::request::NoQuery;
use super::router;

/// What every call that needs an administrator may answer beside its own.
const ALL: [(&str, &str); 5] = [
    ("400", "what was asked is not understood"),
    ("401", "no credentials, or wrong ones"),
    (
        "403",
        "this Host or Origin is not allowed, or these credentials are not for this",
    ),
    ("429", "too many wrong credentials came from this address"),
    ("500", "docxy could not do it"),
];
/// What one that takes a body may, too.
const WITH_BODY: [(&str, &str); 2] = [
    ("408", "the body did not come in time"),
    ("413", "the body is too long"),
];

/// This description
///
/// `docxy admin openapi` prints the same.
#[utoipa::path(get, path = "/openapi.json", tag = "docxy", responses((status = 200, body = Object)))]
pub(super) async fn openapi(_: NoQuery) -> Response {
    json(&router::description())
}

/// What is known before the routes are.
pub(super) fn beginning() -> OpenApi {
    let info = InfoBuilder::new()
        .title("docxy admin API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "For operators, on docxy's Unix socket and at `[admin] listen`. Times of day are RFC 3339, spans are whole \
             seconds, sizes are bytes. Errors are `{\"error\": {\"code\", \"message\", \"hint\"}}`.",
        ))
        .build();
    OpenApiBuilder::new().info(info).build()
}

/// What all calls have in common.
pub(super) fn complete(document: &mut OpenApi) {
    let components = document.components.get_or_insert_with(Components::new);
    for (name, schema) in [
        (Failure::name(), Failure::schema()),
        (Problem::name(), Problem::schema()),
    ] {
        components.schemas.insert(name.into_owned(), schema);
    }
    components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(COOKIE)));
    components.add_security_scheme("session", cookie);
    let key = ApiKeyValue::with_description(
        SESSION_KEY.as_str(),
        "`session_key` of the sign-in; every request with the cookie needs it.",
    );
    components.add_security_scheme("session_key", SecurityScheme::ApiKey(ApiKey::Header(key)));
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.put,
            &mut item.patch,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            complete_operation(operation);
        }
    }
}

fn complete_operation(operation: &mut Operation) {
    // A call with a `security` of its own says so because it needs none.
    if operation.security.is_some() {
        operation.security = Some(Vec::new());
    } else {
        operation.security = Some(vec![
            SecurityRequirement::new::<_, [&str; 0], _>("token", []),
            SecurityRequirement::new::<_, [&str; 0], _>("session", [])
                .add::<_, [&str; 0], _>("session_key", []),
        ]);
    }
    let with_body = operation.request_body.is_some();
    let more = WITH_BODY.iter().filter(|_| with_body);
    for (status, description) in ALL.iter().chain(more) {
        operation
            .responses
            .responses
            .entry((*status).to_owned())
            .or_insert_with(|| failure(description));
    }
}

fn failure(description: &str) -> RefOr<utoipa::openapi::Response> {
    let schema = Ref::from_schema_name(Failure::name());
    let content = Content::new(Some(schema));
    ResponseBuilder::new()
        .description(description)
        .content("application/json", content)
        .build()
        .into()
}
