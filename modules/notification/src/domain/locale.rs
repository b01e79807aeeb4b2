/// A language there are templates for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Locale {
    En,
    Cs,
}

impl Locale {
    pub const ALL: [Self; 2] = [Self::En, Self::Cs];

    /// The language subtag, which is also the folder of its templates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Cs => "cs",
        }
    }

    /// The templates for a BCP 47 tag: those of its language, whatever the region or script.
    pub fn of(tag: &str) -> Option<Self> {
        let language = tag.split(['-', '_']).next().unwrap_or_default();
        Self::ALL.into_iter().find(|locale| locale.as_str().eq_ignore_ascii_case(language))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_decides_and_the_region_does_not_matter() {
        assert_eq!(Locale::of("cs"), Some(Locale::Cs));
        assert_eq!(Locale::of("cs-CZ"), Some(Locale::Cs));
        assert_eq!(Locale::of("EN-gb"), Some(Locale::En));
        assert_eq!(Locale::of("fr-FR"), None);
        assert_eq!(Locale::of(""), None);
    }
}
