//! Choices, as bytes that proptest can make smaller.

/// A row of choices. Behind its end every choice is the first one, or as good as random.
pub(super) struct Tape<'a> {
    bytes: &'a [u8],
    at: usize,
    endless: Option<u64>,
}

impl<'a> Tape<'a> {
    /// Makes choices that end.
    pub(super) const fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, endless: None }
    }

    /// Makes choices that never end.
    pub(super) const fn endless(seed: u64) -> Self {
        Self { bytes: &[], at: 0, endless: Some(seed) }
    }

    /// Chooses a number below another.
    pub(super) fn pick(&mut self, below: usize) -> usize {
        let byte = self.bytes.get(self.at).copied().map(usize::from);
        self.at += 1;
        byte.or_else(|| self.random()).unwrap_or_default() % below.max(1)
    }

    /// Tells whether one of so many falls.
    pub(super) fn one_in(&mut self, many: usize) -> bool {
        self.pick(many) == many - 1
    }

    /// Chooses one of several things.
    pub(super) fn of_these<T: Clone>(&mut self, things: &[T]) -> T {
        things[self.pick(things.len())].clone()
    }

    /// The generator of Knuth's MMIX; its upper bits are good enough for schedules.
    fn random(&mut self) -> Option<usize> {
        let seed = self.endless.as_mut()?;
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(*seed >> 40).ok()
    }
}
