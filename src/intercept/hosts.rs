//! Which hosts are answered, passed on, refused.

use std::net::{IpAddr, SocketAddr};

use crate::config::values::HostPattern;
use crate::route::destination::HTTPS;
use crate::route::{Behind, Destination};
use crate::upstream::transport::is_this_machines;

/// What the operator wrote, and what docxy knows of itself.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// Which of the registries' hosts are answered. Empty: all of them.
    pub answered: Vec<HostPattern>,
    pub passed: Vec<HostPattern>,
    /// Everything else is passed on too, where it is public.
    pub pass_all: bool,
    /// Names of docxy itself, lower case, without ports.
    pub own_names: Vec<String>,
    /// What docxy listens on.
    pub own_listeners: Vec<SocketAddr>,
}

/// What becomes of a CONNECT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// By docxy itself.
    Answer,
    /// Untouched. `private`: also where the host is in a private network, because the operator named it; an address that
    /// he named is dialled wherever it is.
    Pass {
        private: bool,
    },
    Refuse(Refused),
}

/// Why it is refused; the text tells the client what its operator can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    #[error(
        "it is not a host of a registry that is configured here; add a [registries.\"HOST\"] section to docxy.toml, or the host to \
         intercept.passthrough"
    )]
    Unknown,
    #[error("it is left out of intercept.hosts in docxy.toml")]
    LeftOut,
    #[error(
        "only port 443 and the ports that the configuration names are open; add HOST:PORT to intercept.passthrough"
    )]
    Port,
    #[error("it is docxy itself; add it to NO_PROXY")]
    Own,
}

impl Hosts {
    /// `behind`: which registries, configured and switched on, are there, or have their token service there.
    pub fn judge(&self, destination: &Destination, behind: Option<&Behind>) -> Verdict {
        let (host, port) = (destination.host(), destination.port());
        let named = |list: &[HostPattern]| list.iter().any(|pattern| pattern.matches(host, port));
        if self.is_own(destination) {
            return Verdict::Refuse(Refused::Own);
        }
        // What the operator does not want to be looked into is not.
        if named(&self.passed) {
            let private = |pattern: &HostPattern| pattern.literal().is_some() && pattern.matches(host, port);
            return Verdict::Pass {
                private: self.passed.iter().any(private),
            };
        }
        match behind {
            Some(_) if self.answered.is_empty() || named(&self.answered) => Verdict::Answer,
            // Whoever pulls from a registry that is answered gets its tokens here too, listed or not.
            Some(behind) if self.is_for_tokens(behind) => Verdict::Answer,
            _ if self.pass_all && port == HTTPS => Verdict::Pass { private: false },
            _ if self.pass_all => Verdict::Refuse(Refused::Port),
            Some(_) => Verdict::Refuse(Refused::LeftOut),
            None => Verdict::Refuse(Refused::Unknown),
        }
    }

    /// Nothing but the token service of a registry that is answered.
    fn is_for_tokens(&self, behind: &Behind) -> bool {
        let is_answered = |place: &Destination| {
            let mut answered = self.answered.iter();
            answered.any(|pattern| pattern.matches(place.host(), place.port()))
        };
        let mut services = behind.token_services.iter();
        behind.registry.is_none() && services.any(|registry| registry.authorities.iter().any(is_answered))
    }

    /// docxy must not be led to itself: as a name it has, or as an address and port that it listens on.
    pub fn is_own(&self, destination: &Destination) -> bool {
        if self.own_names.iter().any(|name| name == destination.host()) {
            return true;
        }
        let host = destination.host();
        let is_localhost = host == "localhost" || host.ends_with(".localhost");
        let is_at = |own: IpAddr| match destination.address() {
            Some(address) => own == address || (own.is_unspecified() && is_this_machines(address)),
            None => is_localhost && (own.is_loopback() || own.is_unspecified()),
        };
        let mut listeners = self.own_listeners.iter();
        listeners.any(|own| own.port() == destination.port() && is_at(own.ip()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(hosts: &Hosts, destination: &str) -> Verdict {
        let registries = ["ghcr.io", "quay.io", "registry.lan:5000"];
        let destination = Destination::parse(destination).unwrap();
        let is_registrys = registries.contains(&destination.to_string().as_str());
        hosts.judge(&destination, is_registrys.then(Behind::default).as_ref())
    }

    fn patterns(texts: &[&str]) -> Vec<HostPattern> {
        texts
            .iter()
            .map(|text| HostPattern::parse(text).unwrap())
            .collect()
    }

    #[test]
    fn only_registries_are_answered_and_nothing_is_passed_on_unasked() {
        // Whoever runs docxy within reach of others must not run an open relay (threat S3).
        let hosts = Hosts {
            own_names: vec!["docxy.lan".into()],
            own_listeners: vec!["0.0.0.0:3128".parse().unwrap(), "127.0.0.1:5000".parse().unwrap()],
            ..Hosts::default()
        };
        for (destination, verdict) in [
            ("ghcr.io:443", Verdict::Answer),
            ("registry.lan:5000", Verdict::Answer),
            ("ghcr.io:22", Verdict::Refuse(Refused::Unknown)),
            ("example.com:443", Verdict::Refuse(Refused::Unknown)),
            ("127.0.0.1:22", Verdict::Refuse(Refused::Unknown)),
            ("127.0.0.1:5000", Verdict::Refuse(Refused::Own)),
            ("127.0.0.9:3128", Verdict::Refuse(Refused::Own)),
            ("[::1]:3128", Verdict::Refuse(Refused::Own)),
            ("localhost:5000", Verdict::Refuse(Refused::Own)),
            ("localhost:5001", Verdict::Refuse(Refused::Unknown)),
            // Somebody else's, on the same port.
            ("192.0.2.1:3128", Verdict::Refuse(Refused::Unknown)),
            ("docxy.lan:443", Verdict::Refuse(Refused::Own)),
            ("docxy.lan:22", Verdict::Refuse(Refused::Own)),
        ] {
            assert_eq!(judge(&hosts, destination), verdict, "{destination}");
        }
    }

    #[test]
    fn what_the_operator_lists_is_passed_on_and_nothing_else() {
        // A passthrough list opens the hosts in it, each on its port.
        let hosts = Hosts {
            answered: patterns(&["ghcr.io"]),
            passed: patterns(&["proxy.golang.org", "*.corp.test", "10.0.0.5:8443", "quay.io"]),
            ..Hosts::default()
        };
        for (destination, verdict) in [
            ("proxy.golang.org:443", Verdict::Pass { private: true }),
            ("proxy.golang.org:80", Verdict::Refuse(Refused::Unknown)),
            ("a.corp.test:443", Verdict::Pass { private: false }),
            ("10.0.0.5:8443", Verdict::Pass { private: true }),
            ("10.0.0.5:443", Verdict::Refuse(Refused::Unknown)),
            ("quay.io:443", Verdict::Pass { private: true }),
            ("ghcr.io:443", Verdict::Answer),
            ("registry.lan:5000", Verdict::Refuse(Refused::LeftOut)),
        ] {
            assert_eq!(judge(&hosts, destination), verdict, "{destination}");
        }
        let all = Hosts {
            pass_all: true,
            ..hosts
        };
        assert_eq!(judge(&all, "example.com:443"), Verdict::Pass { private: false });
        assert_eq!(judge(&all, "example.com:25"), Verdict::Refuse(Refused::Port));
    }
}
