//! Whether a name somebody has typed is the name of a customer, for the verification of a payee
//! (Regulation (EU) 2024/886).

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// How far a name is the one it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NameMatch {
    Different,
    /// With a slip of the pen, an initial, or a middle name left out.
    Close,
    /// Apart from case, accents, punctuation, titles and the order of the words.
    Same,
}

/// What is written before a name and is no part of it.
const BEFORE: [&str; 19] = [
    "mr", "mrs", "ms", "miss", "mx", "dr", "prof", "sir", "ing", "mgr", "bc", "mudr", "judr", "phdr", "rndr", "herr",
    "frau", "pan", "pani",
];

/// What is written after a name and is no part of it.
const AFTER: [&str; 11] = ["phd", "csc", "mba", "dr", "prof", "ing", "mgr", "bc", "mudr", "judr", "phdr"];

/// Titles that are names as well: Li Pan, Ing Wong.
const NAMES_TOO: [&str; 7] = ["pan", "pani", "ing", "sir", "miss", "bc", "mba"];

/// From this many letters on a word may have one slip, and two from twice as many. In shorter ones it makes another name.
const LETTERS_PER_SLIP: usize = 4;

/// Compares the name that was typed with the one the bank knows.
///
/// A single word of several never matches: whoever knows a surname is not to learn that it is the right one.
///
/// Titles make no difference. A word that may be a title or a name is taken for what fits better in what was typed, and
/// for a name in what the bank knows, unless it is abbreviated there: nobody is to lose a part of their name.
pub(crate) fn compare(known: &str, typed: &str) -> NameMatch {
    let known = without_titles(&words(known), Doubtful::AreNames);
    let typed = words(typed);
    let readings = [Doubtful::AreNames, Doubtful::AreTitles].map(|doubtful| without_titles(&typed, doubtful));
    let readings = readings.into_iter().map(|typed| compare_words(known.clone(), typed));
    readings.max().unwrap_or(NameMatch::Different)
}

fn compare_words(mut known: Vec<String>, mut typed: Vec<String>) -> NameMatch {
    if known.is_empty() || typed.is_empty() {
        return NameMatch::Different;
    }
    let enough = known.len().min(2);
    if typed.len() < enough || typed.len() > known.len() {
        return NameMatch::Different;
    }
    let whole = known.len() == 1;
    let same = take_pairs(&mut known, &mut typed, |known, typed| known == typed);
    if known.is_empty() {
        return NameMatch::Same;
    }
    take_pairs(&mut known, &mut typed, differs_by_a_slip);
    if same > 0 {
        take_pairs(&mut known, &mut typed, is_initial_of);
    }
    // One word of several has to be right, and none may be left that is in no relation to the name.
    let is_close = typed.is_empty() && (same > 0 || whole);
    if is_close { NameMatch::Close } else { NameMatch::Different }
}

/// The first letters of a name, for somebody who knows it. How long the words are is not told.
pub(crate) fn masked(name: &str) -> String {
    let masked = name.split_whitespace().filter_map(|word| word.chars().next()).map(|first| format!("{first}***"));
    masked.collect::<Vec<_>>().join(" ")
}

/// A word of a name, without what people write in different ways.
struct Word {
    text: String,
    /// With a full stop behind it.
    abbreviated: bool,
}

fn words(name: &str) -> Vec<Word> {
    let mut plain = String::with_capacity(name.len());
    for letter in name.nfkd().filter(|letter| !is_accent(*letter)).flat_map(char::to_lowercase) {
        match letter {
            'ł' => plain.push('l'),
            'ø' => plain.push('o'),
            'đ' | 'ð' => plain.push('d'),
            'ı' => plain.push('i'),
            'ß' => plain.push_str("ss"),
            'æ' => plain.push_str("ae"),
            'œ' => plain.push_str("oe"),
            'þ' => plain.push_str("th"),
            // The same letter at the end of a word.
            'ς' => plain.push('σ'),
            // O'Neill and ONeill.
            '\'' | '’' | 'ʼ' => {}
            // Outside of Latin, Greek and Cyrillic a mark may be a vowel.
            letter if letter.is_alphanumeric() || is_combining_mark(letter) => plain.push(letter),
            '.' => plain.push_str(". "),
            _ => plain.push(' '),
        }
    }
    let plain = plain.replace("ph. d.", "phd");
    let words = plain
        .split(' ')
        .map(|word| Word { text: word.trim_end_matches('.').to_owned(), abbreviated: word.ends_with('.') });
    words.filter(|word| !word.text.is_empty()).collect()
}

/// The combining diacritical marks of Latin, Greek and Cyrillic.
const fn is_accent(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}')
}

/// What a word is that may be a title or a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubtful {
    AreNames,
    AreTitles,
}

/// The words between the titles.
fn without_titles(words: &[Word], doubtful: Doubtful) -> Vec<String> {
    let is_title = |word: &Word, titles: &[&str], left: usize| {
        let text = word.text.as_str();
        // One word alone is too little for a name of which a part may have been taken away.
        let doubtless = word.abbreviated || !NAMES_TOO.contains(&text);
        titles.contains(&text) && (doubtless || (doubtful == Doubtful::AreTitles && left > 2))
    };
    let mut words = words;
    while let [first, rest @ ..] = words
        && is_title(first, &BEFORE, words.len())
    {
        words = rest;
    }
    while let [rest @ .., last] = words
        && is_title(last, &AFTER, words.len())
    {
        words = rest;
    }
    words.iter().map(|word| word.text.clone()).collect()
}

/// Takes out words that belong together, each once, and says how many pairs there were.
fn take_pairs(known: &mut Vec<String>, typed: &mut Vec<String>, belong: impl Fn(&str, &str) -> bool) -> usize {
    let before = typed.len();
    typed.retain(|typed| match known.iter().position(|known| belong(known, typed)) {
        Some(place) => {
            known.remove(place);
            false
        }
        None => true,
    });
    before - typed.len()
}

fn is_initial_of(known: &str, typed: &str) -> bool {
    typed.chars().count() == 1 && known.chars().next() == typed.chars().next()
}

fn differs_by_a_slip(known: &str, typed: &str) -> bool {
    let (known, typed): (Vec<char>, Vec<char>) = (known.chars().collect(), typed.chars().collect());
    let slips = (known.len().min(typed.len()) / LETTERS_PER_SLIP).min(2);
    slips > 0 && known.len().abs_diff(typed.len()) <= slips && distance(&known, &typed) <= slips
}

/// Letters that are wrong, missing or too many, and neighbours in the wrong order (optimal string alignment).
fn distance(left: &[char], right: &[char]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let wrong = usize::from(left[i - 1] != right[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + wrong);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_accents_punctuation_titles_and_order_make_no_difference() {
        for (known, typed) in [
            ("Jan Novák", "JAN NOVAK"),
            ("Jan Novák", "Novák, Jan"),
            ("Jan Novák", "Mgr. Jan Novák, PhD"),
            ("Łukasz Żak", "Lukasz Zak"),
            ("Søren Strauß", "soren strauss"),
            ("Siobhán O’Neill", "Siobhan ONeill"),
            ("Anne-Marie Dupont", "Anne Marie Dupont"),
            ("Ada", "ada"),
            ("Ada", "Mrs. Ada"),
            ("山田 太郎", "山田 太郎"),
            ("Jan Novák", "Pan Jan Novák"),
            ("Ing. Jan Novák, Ph.D.", "Jan Novák"),
            ("Wei Pan", "Pan Wei"),
            ("Ing Wong", "WONG Ing"),
            ("Γιώργος Παπαδόπουλος", "ΓΙΩΡΓΟΣ ΠΑΠΑΔΟΠΟΥΛΟΣ"),
            ("हिन्दी शर्मा", "शर्मा हिन्दी"),
        ] {
            assert_eq!(compare(known, typed), NameMatch::Same, "{known} / {typed}");
        }
    }

    #[test]
    fn slips_initials_and_missing_middle_names_are_close() {
        for (known, typed) in [
            ("Jan Novák", "Jan Nowak"),
            ("Jan Novák", "Jan Nvoak"),
            ("Jan Novák", "J. Novak"),
            ("Jan Karel Novák", "Jan Novák"),
            ("Katharina Schneider", "Katarina Schneider"),
            ("Christopher Robertson", "Christofer Robertson"),
            ("Madonna", "Madona"),
            ("Pan Li Wei", "Li Wei"),
        ] {
            assert_eq!(compare(known, typed), NameMatch::Close, "{known} / {typed}");
        }
    }

    #[test]
    fn everything_else_is_somebody_else() {
        for (known, typed) in [
            ("Jan Novák", "Novák"),
            ("Jan Novák", "Petr Svoboda"),
            ("Jan Novák", "Petr Novák"),
            ("Jan Novák", "Jan Novák Svoboda"),
            ("Jan Novák", "J N"),
            ("Jan Novák", "Jen Novik"),
            ("Jan Novák", ""),
            ("Jan Novák", "Mr. Dr."),
            ("Jan Novák", "%"),
            ("Li Wu", "Li Wo"),
            ("", ""),
            ("Ada", "A"),
            ("Jan Novák", "Jan Jan"),
            ("Wei Pan", "Wei"),
            ("Pan Wei", "Wei"),
            ("Wei", "Wei Pan"),
            ("Wei", "Pan Wei"),
            ("Li Pan", "Li Wang"),
            // राम and रोम, which differ in a vowel sign.
            ("राम शर्मा", "रोम शर्मा"),
            ("कि", "कु"),
        ] {
            assert_eq!(compare(known, typed), NameMatch::Different, "{known} / {typed}");
        }
    }

    #[test]
    fn a_masked_name_tells_first_letters_and_nothing_else() {
        assert_eq!(masked("Jan Karel Novák"), "J*** K*** N***");
        assert_eq!(masked("Żaneta"), "Ż***");
        assert_eq!(masked(" "), "");
    }

    #[test]
    fn neighbours_in_the_wrong_order_are_one_slip() {
        let letters = |text: &str| text.chars().collect::<Vec<_>>();
        for (left, right, expected) in [("novak", "nvoak", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("a", "a", 0)] {
            assert_eq!(distance(&letters(left), &letters(right)), expected, "{left} {right}");
        }
    }
}
