use super::*;

#[test]
fn a_client_is_not_told_where_things_are() {
    // The addresses inside an operator's network are nobody else's business; which registry failed is the client's.
    let registry = RegistryName::parse("r.test").unwrap();
    let host = || "10.1.2.3:5000".to_owned();
    let status = StatusCode::BAD_GATEWAY;
    let failures = [
        Failure::Unreachable {
            registry: registry.clone(),
            host: host(),
            cause: Cause::Proxy {
                proxy: host(),
                reason: host(),
            },
        },
        Failure::Timeout {
            registry: registry.clone(),
            host: host(),
            phase: Phase::Headers,
            limit: Duration::from_secs(15),
        },
        Failure::AddressRefused {
            registry: registry.clone(),
            host: host(),
            address: [10, 1, 2, 3].into(),
            class: Class::Private,
        },
        Failure::RealmRefused {
            registry: registry.clone(),
            realm: host(),
            reason: super::super::realm::FOREIGN,
        },
        Failure::StorageRefused {
            registry: registry.clone(),
            host: host(),
            status,
        },
        Failure::BadAnswer {
            registry: registry.clone(),
            host: host(),
            reason: "not HTTP".to_owned(),
        },
        Failure::Broken {
            registry: registry.clone(),
            host: host(),
            received: 3,
            expected: Some(9),
        },
        Failure::RestRefused {
            registry: registry.clone(),
            host: host(),
            status,
        },
        Failure::MirrorRefused {
            registry: registry.clone(),
            host: host(),
            status,
        },
        Failure::OtherBytes {
            registry: registry.clone(),
            host: host(),
            within: 7,
        },
        Failure::TokenService {
            registry: registry.clone(),
            host: host(),
            status,
        },
        Failure::CredentialUnavailable {
            registry: registry.clone(),
            reason: "password_file /etc/10.1.2.3 can't be read".to_owned(),
        },
    ];
    for failure in failures {
        let (own, told) = (failure.to_string(), failure.for_client());
        assert!(own.contains("r.test") && own.contains("10.1.2.3"), "{own}");
        assert!(told.contains("r.test") && !told.contains("10.1.2.3"), "{told}");
    }
}
