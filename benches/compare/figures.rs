//! Rounds, and what they say together.

use crate::server::Kind;

/// Does something with each server in each round, A B C, then C B A, and so on: what drifts hits all alike. What came
/// of it, server by server.
pub(crate) fn rounds<T, const N: usize>(
    kinds: &[Kind; N],
    mut each: impl FnMut(Kind) -> Option<T>,
) -> [Vec<Option<T>>; N] {
    let mut rows = [const { Vec::new() }; N];
    for round in 0..number("ROUNDS", 3) {
        for step in 0..N {
            let place = if round % 2 == 0 { step } else { N - 1 - step };
            rows[place].push(each(kinds[place]));
        }
    }
    rows
}

/// The flag for how long each load lasts.
pub(crate) fn duration() -> String {
    format!("--duration {}ms", number("MILLISECONDS", 2000))
}

/// A setting from the environment.
pub(crate) fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Values in order, of which some rounds may lack one.
pub(crate) struct Sorted(Vec<f64>);

impl Sorted {
    pub(crate) fn of(values: impl Iterator<Item = Option<f64>>) -> Self {
        let mut values: Vec<f64> = values.flatten().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The middle one; not a number when there is none.
    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// From the least to the greatest.
    pub(crate) fn spread(&self) -> String {
        match (self.0.first(), self.0.last()) {
            (Some(least), Some(most)) => format!("{least:.2}-{most:.2}"),
            _ => String::new(),
        }
    }
}
