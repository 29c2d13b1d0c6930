//! `DOCXY_COMPAT`: docxy in the place of another tool's container, with that container's variables. A layer under the
//! file, so that docxy's own keys win.

use std::path::Path;

use super::{
    environment::Environment,
    import::{
        Tool,
        draft::{Draft, Spot},
        env_file::Variable,
        registry_proxy::{self, Use},
    },
    origin::{Origin, Origins, Problem, Problems, Warning},
    schema::{Compat, Schema},
    tree::Table,
};

/// Whose place docxy takes.
pub(super) const VARIABLE: &str = "DOCXY_COMPAT";

/// What the other tool's variables mean.
pub(super) struct Predecessor {
    pub layer: Table,
    /// What that tool called each of the rules about tags in the layer.
    tiers: Vec<&'static str>,
    /// Where those came from, if there are any.
    tiers_from: Option<Origin>,
}

/// `None` when docxy takes nobody's place.
pub(super) fn predecessor(
    environment: &Environment,
    problems: &mut Problems,
    warnings: &mut Vec<Warning>,
) -> Option<Predecessor> {
    let wanted = environment.get(VARIABLE)?.trim();
    if wanted.is_empty() {
        return None;
    }
    let origin = Origin::Environment(VARIABLE.to_owned());
    let known = Tool::DockerRegistryProxy.name();
    if wanted != known {
        let fix = format!("write {known}, or unset it; `docxy config import` knows other tools too");
        problems.push(&origin, "", "docxy takes no such tool's place", fix);
        return None;
    }
    let own = Spot {
        origin: origin.clone(),
        key: VARIABLE.to_owned(),
    };
    let mut draft = Draft::default();
    let exists = |path: &str| Path::new(path).exists();
    registry_proxy::translate(
        &variables(environment),
        &own,
        Use::InPlace { exists: &exists },
        &mut draft,
    );
    for problem in draft.problems.iter() {
        problems.push(
            &problem.origin,
            &problem.key,
            problem.what.clone(),
            problem.fix.clone(),
        );
    }
    warnings.extend(draft.warnings());
    warnings.push(Warning(Problem {
        origin,
        key: String::new(),
        what: "docxy takes docker-registry-proxy's place: its variables count, and docxy's own keys win over them".to_owned(),
        fix: Some("`docxy check-config` shows what they mean; docs/moving.md tells how to move to a file".to_owned()),
    }));
    Some(Predecessor {
        layer: draft.layer(),
        tiers: draft.tiers().collect(),
        tiers_from: draft.tiers_from(),
    })
}

impl Predecessor {
    /// What the rest of docxy must know of it, once all layers are one.
    pub fn describe(&self, schema: &Schema, origins: &Origins) -> Compat {
        let in_force = self.tiers_from.as_ref() == Some(origins.of("cache.tags"));
        let rules = schema.cache.tags.iter().filter(|_| in_force);
        Compat {
            tiers: rules
                .zip(&self.tiers)
                .map(|(rule, title)| (rule.tag.clone(), *title))
                .collect(),
        }
    }
}

fn variables(environment: &Environment) -> Vec<Variable> {
    let ours = environment
        .iter()
        .filter(|(name, _)| registry_proxy::is_variable(name));
    ours.map(|(name, value)| Variable {
        name: name.clone(),
        value: value.clone(),
        spot: Spot {
            origin: Origin::Environment(name.clone()),
            key: name.clone(),
        },
    })
    .collect()
}
