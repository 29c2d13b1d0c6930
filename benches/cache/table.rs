//! The results: a table in Markdown for each case, with what was promised and whether it holds.

use std::fmt::Write;

use super::field::{ALL, Party};
use super::figures::median;

/// One figure for each party and round.
#[derive(Clone, Debug, Default)]
pub struct Figures([Vec<f64>; ALL.len()]);

impl Figures {
    pub fn push(&mut self, party: Party, figure: f64) {
        self.0[party as usize].push(figure);
    }

    /// Of all rounds.
    pub fn median(&self, party: Party) -> Option<f64> {
        let figures = &self.0[party as usize];
        (!figures.is_empty()).then(|| median(figures.clone()))
    }
}

/// What docxy's figure is held against.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// So many times another's figure, at most.
    AtMost(f64, Party),
    /// So many times another's figure, at least.
    AtLeast(f64, Party),
    /// So much more than another's, at most.
    Adds(f64, Party),
    /// Never more than this.
    Limit(f64),
    /// Nothing was promised.
    Versus(Party),
}

/// A line of a table: what, in which unit, measured for whom.
pub struct Row {
    what: String,
    figures: Figures,
    targets: Vec<Target>,
}

impl Row {
    pub fn new(what: impl Into<String>, figures: Figures, targets: &[Target]) -> Self {
        Self {
            what: what.into(),
            figures,
            targets: targets.to_vec(),
        }
    }
}

/// How many promises were kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    pub kept: usize,
    pub missed: usize,
}

/// The tables of a run.
#[derive(Default)]
pub struct Report {
    pub score: Score,
}

impl Report {
    /// A heading, a table and remarks, ready for `docs/benchmarks.md`.
    pub fn table(&mut self, title: &str, rows: &[Row], remarks: &[String]) -> String {
        let mut text = format!(
            "\n### {title}\n\n| | direct | docxy | nginx | distribution | docxy against | target | |\n\
             |---|---|---|---|---|---|---|---|\n"
        );
        for row in rows {
            self.row(&mut text, row);
        }
        for remark in remarks {
            let _ = write!(text, "\n{remark}\n");
        }
        text
    }

    fn row(&mut self, text: &mut String, row: &Row) {
        let _ = write!(text, "| {} |", row.what);
        for party in ALL {
            let _ = write!(
                text,
                " {} |",
                row.figures.median(party).map_or_else(String::new, figure)
            );
        }
        let judged: Vec<_> = row
            .targets
            .iter()
            .filter_map(|target| judge(*target, &row.figures))
            .collect();
        let column = |of: fn(&Judged) -> &str| {
            let cells: Vec<&str> = judged.iter().map(of).filter(|cell| !cell.is_empty()).collect();
            cells.join(", ")
        };
        let verdict = column(|judged| match judged.kept {
            Some(true) => "pass",
            Some(false) => "**miss**",
            None => "",
        });
        let _ = writeln!(
            text,
            " {} | {} | {verdict} |",
            column(|judged| &judged.seen),
            column(|judged| &judged.target)
        );
        self.score.kept += judged.iter().filter(|judged| judged.kept == Some(true)).count();
        self.score.missed += judged.iter().filter(|judged| judged.kept == Some(false)).count();
    }
}

struct Judged {
    seen: String,
    target: String,
    kept: Option<bool>,
}

/// None where somebody was not measured.
fn judge(target: Target, figures: &Figures) -> Option<Judged> {
    let ours = figures.median(Party::Docxy)?;
    // To two digits: less than that is chance.
    let times = |of: Party| Some(((100.0 * ours / figures.median(of)?).round() / 100.0, of.name()));
    Some(match target {
        Target::AtMost(most, of) => {
            let (ratio, name) = times(of)?;
            Judged {
                seen: format!("{ratio:.2} x {name}"),
                target: format!("<= {most} x {name}"),
                kept: Some(ratio <= most),
            }
        }
        Target::AtLeast(least, of) => {
            let (ratio, name) = times(of)?;
            Judged {
                seen: format!("{ratio:.2} x {name}"),
                target: format!(">= {least} x {name}"),
                kept: Some(ratio >= least),
            }
        }
        Target::Adds(most, to) => {
            let added = ours - figures.median(to)?;
            Judged {
                seen: format!("{} + {}", to.name(), figure(added)),
                target: format!("<= {} + {most}", to.name()),
                kept: Some(added <= most),
            }
        }
        Target::Limit(most) => Judged {
            seen: String::new(),
            target: format!("<= {most}"),
            kept: Some(ours <= most),
        },
        Target::Versus(of) => {
            let (ratio, name) = times(of)?;
            Judged {
                seen: format!("{ratio:.2} x {name}"),
                target: String::new(),
                kept: None,
            }
        }
    })
}

/// Three digits that count.
fn figure(figure: f64) -> String {
    match figure.abs() {
        size if size >= 99.95 => format!("{figure:.0}"),
        size if size >= 9.995 => format!("{figure:.1}"),
        size if size >= 0.9995 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}
