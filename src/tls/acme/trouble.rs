//! What can go wrong on the way to a certificate, and what to do about it.

use std::fmt;

use instant_acme::Problem;

use super::challenges::Kind;
use super::client::{self, Turned};
use super::schedule::Setback;
use crate::access::private::PrivateError;
use crate::telemetry::metrics::Order;
use crate::tls::Error as TlsError;
use crate::tls::authority::Seconds;

/// How far an order had come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Directory,
    Account,
    Order,
    Challenges,
    Validation,
    Finalise,
    Certificate,
    RenewalInfo,
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Directory => "reading its directory",
            Self::Account => "registering an account",
            Self::Order => "ordering",
            Self::Challenges => "fetching the challenges",
            Self::Validation => "waiting for the names to be checked",
            Self::Finalise => "handing in the certificate request",
            Self::Certificate => "fetching the certificate",
            Self::RenewalInfo => "asking when to renew",
        })
    }
}

/// Each names the authority's host, the step and the remedy: a person reads it in the log while clients are refused.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error(
        "{host} can't be used ({step}): {why}; check tls.acme.directory and tls.acme.ca_file, and that this machine reaches it \
         (network.proxy and network.dns hold for it too)"
    )]
    Unreachable { host: String, step: Step, why: String },
    #[error("{host} takes no more for now ({step}): {detail}{}", come_again(*.until))]
    Limited {
        host: String,
        step: Step,
        detail: String,
        until: Option<Seconds>,
    },
    #[error("{host} refused ({step}): {detail}{}", advice(.kind))]
    Refused {
        host: String,
        step: Step,
        /// The last part of the problem's type, as in `rejectedIdentifier`.
        kind: String,
        detail: String,
    },
    #[error(
        "{host} did not find this docxy at {name} by {kind}: {saw}. {}",
        if *.answered { "docxy did answer it: does something between change the answer, or does another address of the name lead elsewhere?" }
        else { "It never came to docxy: do all addresses of the name lead here, and is the port open to the Internet?" }
    )]
    Challenge {
        host: String,
        name: String,
        kind: Kind,
        saw: String,
        answered: bool,
    },
    #[error(
        "{host} offers for {name} only {offered}, and docxy may answer {mine}; look at tls.acme.challenge and at the listeners"
    )]
    NoChallenge {
        host: String,
        name: String,
        offered: String,
        mine: String,
    },
    #[error("{host} gave an answer that makes no sense ({step}): {what}")]
    Odd { host: String, step: Step, what: String },
    #[error(
        "what [tls.acme] needs can't be kept: {0}. Nothing is ordered, since every restart would order again and use up the \
         authority's limits; set state_path to a folder that docxy may write and that lasts"
    )]
    Kept(#[from] PrivateError),
    #[error("the certificate that was issued can't be used: {0}")]
    Unusable(#[from] TlsError),
    #[error("a request for a certificate can't be made: {0}")]
    Make(#[from] rcgen::Error),
}

impl Trouble {
    /// From the library's words.
    pub fn of(host: &str, step: Step, error: instant_acme::Error, turned: Option<Turned>) -> Self {
        let host = host.to_owned();
        let odd = |what: String| Self::Odd {
            host: host.clone(),
            step,
            what: one_line(&what),
        };
        match error {
            instant_acme::Error::Api(problem) => Self::of_problem(host, step, &problem, turned),
            instant_acme::Error::Other(error) => match error.downcast::<client::Error>() {
                Ok(error) => match (*error, turned) {
                    (client::Error::Status(status), Some(turned))
                        if status.is_server_error() || status.as_u16() == 429 =>
                    {
                        Self::Limited {
                            host,
                            step,
                            detail: format!("it answers {status}"),
                            until: turned.until,
                        }
                    }
                    (error, _) => Self::Unreachable {
                        host,
                        step,
                        why: error.to_string(),
                    },
                },
                Err(error) => odd(error.to_string()),
            },
            instant_acme::Error::Timeout(_) => odd("it came to no end in time".to_owned()),
            error => odd(error.to_string()),
        }
    }

    fn of_problem(host: String, step: Step, problem: &Problem, turned: Option<Turned>) -> Self {
        let kind = kind_of(problem).to_owned();
        let detail = words(problem);
        if kind == "rateLimited" || turned.as_ref().is_some_and(Turned::is_a_limit) {
            return Self::Limited {
                host,
                step,
                detail,
                until: turned.and_then(|turned| turned.until),
            };
        }
        Self::Refused {
            host,
            step,
            kind,
            detail,
        }
    }

    /// Of `docxy_acme_orders_total`.
    pub fn word(&self) -> Order {
        match self {
            Self::Unreachable { .. } => Order::Unreachable,
            Self::Limited { .. } => Order::Limited,
            Self::Refused { .. } | Self::NoChallenge { .. } => Order::Refused,
            Self::Challenge { .. } => Order::Challenge,
            Self::Odd { .. } | Self::Kept(_) | Self::Unusable(_) | Self::Make(_) => Order::Failed,
        }
    }

    /// Before this the authority wants to hear nothing.
    pub fn until(&self) -> Option<Seconds> {
        match self {
            Self::Limited { until, .. } => *until,
            _ => None,
        }
    }

    pub fn setback(&self) -> Setback {
        match self {
            Self::Unreachable {
                step: Step::Directory,
                ..
            }
            | Self::Odd {
                step: Step::Directory,
                ..
            }
            | Self::Limited {
                step: Step::Directory,
                until: None,
                ..
            }
            | Self::Kept(_) => Setback::Silence,
            _ => Setback::Failure,
        }
    }

    /// The same may well work at once: RFC 8555, 6.5, wants such requests to be repeated.
    pub fn is_about_a_nonce(&self) -> bool {
        self.is_refused_as("badNonce")
    }

    /// The authority has forgotten docxy.
    pub fn is_about_the_account(&self) -> bool {
        self.is_refused_as("accountDoesNotExist")
    }

    /// The certificate that is to be replaced was replaced before, or the authority does not know it (RFC 9773, 5).
    pub fn is_about_replacing(&self) -> bool {
        self.is_refused_as("alreadyReplaced")
            || matches!(self, Self::Odd { step: Step::Order, what, .. } if what.contains("replaces"))
    }

    fn is_refused_as(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { kind, .. } if kind == wanted)
    }
}

/// Without the name space.
fn kind_of(problem: &Problem) -> &str {
    let whole = problem.r#type.as_deref().unwrap_or_default();
    whole.rsplit(':').next().unwrap_or(whole)
}

/// What a problem document says, in one line.
pub fn words(problem: &Problem) -> String {
    let mut said = problem.detail.clone().unwrap_or_default();
    for sub in &problem.subproblems {
        if !said.is_empty() {
            said.push_str("; ");
        }
        said.push_str(&sub.to_string());
    }
    let kind = kind_of(problem);
    if said.is_empty() {
        kind.clone_into(&mut said);
    } else if !kind.is_empty() {
        said = format!("{said} ({kind})");
    }
    one_line(&said)
}

/// It comes from outside and goes into the log.
pub fn one_line(text: &str) -> String {
    const MOST: usize = 1000;
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(MOST).collect()
}

fn come_again(until: Option<Seconds>) -> String {
    until.map_or_else(String::new, |until| {
        format!("; it says to come again after {until}")
    })
}

/// What helps against a problem of RFC 8555, 6.7.
fn advice(kind: &str) -> &'static str {
    match kind {
        "externalAccountRequired" => {
            "; get a key of the authority's and write eab_key_id and eab_hmac_key_file under [tls.acme]"
        }
        "unauthorized" => "; look at eab_key_id and its key, and at what the authority knows of this account",
        "rejectedIdentifier" | "unsupportedIdentifier" => "; name others under tls.acme.domains",
        "caa" => {
            "; the CAA record of the name lets other authorities issue only: change it in the DNS, or use one of those"
        }
        "invalidContact" | "unsupportedContact" => "; write another address as tls.acme.email",
        "userActionRequired" => "; somebody must agree to something at the authority first",
        _ => "",
    }
}
