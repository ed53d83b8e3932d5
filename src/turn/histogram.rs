use super::Counter;

/// The most steps that one has.
const STEPS: usize = 12;

/// How often values were how large, with one writer. Others may read it at any time: each number by itself, so that a
/// value that comes in between may show in one of them and not in the other yet.
#[derive(Debug)]
pub struct Histogram {
    /// The upper ends of the steps, rising.
    bounds: &'static [u64],
    /// Values up to each of them and above the one before; the last ones are above all.
    counts: [Counter; STEPS + 1],
    sum: Counter,
}

/// What a [`Histogram`] has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// The upper ends of the steps, and how many values lie in each; behind them those above all.
    pub steps: Vec<(u64, u64)>,
    /// How many lie above all steps.
    pub above: u64,
    /// All values together.
    pub sum: u64,
}

impl Histogram {
    /// An empty one. Of more than 12 bounds the last ones are left out.
    pub const fn new(bounds: &'static [u64]) -> Self {
        let bounds = if bounds.len() > STEPS { bounds.split_at(STEPS).0 } else { bounds };
        Self { bounds, counts: [const { Counter::new() }; STEPS + 1], sum: Counter::new() }
    }

    /// Counts a value, by the owning worker only.
    pub fn add(&self, value: u64) {
        let step = self.bounds.partition_point(|bound| *bound < value);
        self.counts[step].add(1);
        self.sum.add(value);
    }

    /// Adds what it has counted to a sum over several of the same bounds.
    pub fn collect(&self, into: &mut Spread) {
        if into.steps.is_empty() {
            into.steps = self.bounds.iter().map(|bound| (*bound, 0)).collect();
        }
        for (step, count) in into.steps.iter_mut().zip(&self.counts) {
            step.1 += count.get();
        }
        into.above += self.counts[self.bounds.len()].get();
        into.sum = into.sum.wrapping_add(self.sum.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_the_first_step_whose_end_it_does_not_exceed() {
        let one = Histogram::new(&[10, 100]);
        let other = Histogram::new(&[10, 100]);
        [0, 10, 11, 100, 101].iter().for_each(|value| one.add(*value));
        other.add(1_000_000);
        let mut spread = Spread::default();
        one.collect(&mut spread);
        other.collect(&mut spread);
        let expected = Spread { steps: vec![(10, 2), (100, 2)], above: 2, sum: 1_000_222 };
        assert_eq!(spread, expected);
    }
}
