//! Words for messages: minijinja templates in files, one per template, channel and language.
//!
//! `<locale>/<template>.in_app.txt` and `<locale>/<template>.email.txt`: the first line is the title or subject, the rest
//! the text. The HTML form of an e-mail is made from its text by `email.html`, so that the two never say different things.
//! A variable a template uses and a message lacks is an error, never an empty place.

use std::collections::BTreeMap;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

use crate::domain::{Locale, Message, date, instant, money};

macro_rules! embedded {
    ($($name:literal,)+) => {
        &[$(($name, include_str!(concat!("../templates/", $name)))),+]
    };
}

/// Every template file; a test compares the list with the folder.
const SOURCES: &[(&str, &str)] = embedded![
    "cs/_footer.email.txt",
    "cs/account_opened.email.txt",
    "cs/account_opened.in_app.txt",
    "cs/account_overdraft.email.txt",
    "cs/account_overdraft.in_app.txt",
    "cs/account_status.email.txt",
    "cs/account_status.in_app.txt",
    "cs/login.email.txt",
    "cs/login.in_app.txt",
    "cs/payment_failed.email.txt",
    "cs/payment_failed.in_app.txt",
    "cs/payment_received.email.txt",
    "cs/payment_received.in_app.txt",
    "cs/payment_sent.email.txt",
    "cs/payment_sent.in_app.txt",
    "cs/statement_ready.email.txt",
    "cs/statement_ready.in_app.txt",
    "cs/unreadable.in_app.txt",
    "cs/welcome.email.txt",
    "cs/welcome.in_app.txt",
    "email.html",
    "en/_footer.email.txt",
    "en/account_opened.email.txt",
    "en/account_opened.in_app.txt",
    "en/account_overdraft.email.txt",
    "en/account_overdraft.in_app.txt",
    "en/account_status.email.txt",
    "en/account_status.in_app.txt",
    "en/login.email.txt",
    "en/login.in_app.txt",
    "en/payment_failed.email.txt",
    "en/payment_failed.in_app.txt",
    "en/payment_received.email.txt",
    "en/payment_received.in_app.txt",
    "en/payment_sent.email.txt",
    "en/payment_sent.in_app.txt",
    "en/statement_ready.email.txt",
    "en/statement_ready.in_app.txt",
    "en/unreadable.in_app.txt",
    "en/welcome.email.txt",
    "en/welcome.in_app.txt",
];

/// A message could not be put into words: the templates and the code do not fit each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("template {template} is invalid: {detail}")]
    Invalid { template: String, detail: String },
    #[error("template {template} uses a variable the message does not have")]
    VariableMissing { template: String },
}

impl TemplateError {
    /// The stable code, kept with a notification that failed for it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "NTF_TEMPLATE_INVALID",
            Self::VariableMissing { .. } => "NTF_TEMPLATE_VARIABLE_MISSING",
        }
    }
}

/// What is shown in the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InAppText {
    pub title: String,
    pub body: String,
}

/// What an e-mail says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EmailText {
    pub subject: String,
    pub text: String,
    pub html: String,
}

type Variables = BTreeMap<&'static str, Value>;

/// All templates, parsed.
pub(crate) struct Templates {
    environment: Environment<'static>,
    bank: String,
}

impl Templates {
    /// `bank` is the bank's name in texts.
    ///
    /// # Errors
    /// [`TemplateError::Invalid`] for a template that does not parse.
    pub fn new(bank: &str) -> Result<Self, TemplateError> {
        Self::of(SOURCES, bank)
    }

    fn of(sources: &[(&'static str, &'static str)], bank: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, source) in sources {
            environment.add_template(name, source).map_err(|error| fault(name, &error))?;
        }
        Ok(Self { environment, bank: bank.to_owned() })
    }

    /// The text for the app. `account` is the tail of the account's number, where there is one.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn in_app(&self, message: &Message, account: Option<&str>, locale: Locale) -> Result<InAppText, TemplateError> {
        let name = format!("{}/{}.in_app.txt", locale.as_str(), message.template());
        let (title, body) = split(&self.render(&name, self.variables(message, account, locale))?);
        Ok(InAppText { title, body })
    }

    /// What is shown in place of a message this release cannot put into words.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn unreadable(&self, locale: Locale) -> Result<InAppText, TemplateError> {
        let name = format!("{}/unreadable.in_app.txt", locale.as_str());
        let variables = Variables::from([("bank", Value::from(self.bank.as_str()))]);
        let (title, body) = split(&self.render(&name, variables)?);
        Ok(InAppText { title, body })
    }

    /// The text of an e-mail to `name`.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn email(
        &self,
        message: &Message,
        account: Option<&str>,
        locale: Locale,
        name: &str,
    ) -> Result<EmailText, TemplateError> {
        let template = format!("{}/{}.email.txt", locale.as_str(), message.template());
        let mut variables = self.variables(message, account, locale);
        // A name is whatever somebody typed; on one line it cannot pass for a paragraph of ours.
        let name = name.split(char::is_control).collect::<Vec<_>>().join(" ");
        variables.insert("name", Value::from(name));
        let (subject, text) = split(&self.render(&template, variables)?);
        let paragraphs = text.split("\n\n").map(Value::from).collect::<Vec<_>>();
        let html = Variables::from([
            ("subject", Value::from(subject.as_str())),
            ("locale", Value::from(locale.as_str())),
            ("paragraphs", Value::from(paragraphs)),
        ]);
        let html = self.render("email.html", html)?;
        Ok(EmailText { subject, text, html })
    }

    fn variables(&self, message: &Message, account: Option<&str>, locale: Locale) -> Variables {
        let mut variables = Variables::from([
            ("bank", Value::from(self.bank.as_str())),
            ("account", Value::from(account.unwrap_or_default())),
        ]);
        let mut set = |name, value: Value| variables.insert(name, value);
        match message {
            Message::Welcome => {}
            Message::Login { at } => {
                set("at", instant(*at, locale).into());
            }
            Message::AccountOpened { product, currency } => {
                set("product", Value::from_serialize(product));
                set("currency", currency.code().into());
            }
            Message::AccountStatus { status } => {
                set("status", status.as_str().into());
            }
            Message::AccountOverdraft { limit } => {
                set("limit", money(*limit, locale).into());
            }
            Message::StatementReady { from, to } => {
                set("from", date(*from, locale).into());
                set("to", date(*to, locale).into());
            }
            Message::PaymentSent { amount, kind } | Message::PaymentReceived { amount, kind } => {
                set("amount", money(*amount, locale).into());
                set("kind", kind.as_str().into());
            }
            Message::PaymentFailed { amount, kind, cause } => {
                set("amount", money(*amount, locale).into());
                set("kind", kind.as_str().into());
                set("cause", Value::from_serialize(cause));
            }
        }
        variables
    }

    fn render(&self, name: &str, variables: Variables) -> Result<String, TemplateError> {
        let template = self.environment.get_template(name).map_err(|error| fault(name, &error))?;
        template.render(Value::from(variables)).map_err(|error| fault(name, &error))
    }
}

/// The first line, and what follows it.
fn split(text: &str) -> (String, String) {
    let (first, rest) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
    (first.trim().to_owned(), rest.trim().to_owned())
}

fn fault(template: &str, error: &minijinja::Error) -> TemplateError {
    let template = template.to_owned();
    // An error inside an included template comes wrapped in one about the inclusion.
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let undefined = causes.any(|error| {
        error.downcast_ref::<minijinja::Error>().is_some_and(|error| error.kind() == ErrorKind::UndefinedError)
    });
    if undefined {
        TemplateError::VariableMissing { template }
    } else {
        TemplateError::Invalid { template, detail: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{FailureCause, Product};
    use chrono::DateTime;
    use std::path::Path;
    use vostro_events::account::AccountStatus;
    use vostro_events::transaction::TransactionKind;
    use vostro_kernel::Money;

    /// Each message in each of its variants.
    fn messages() -> Vec<Message> {
        let amount = Money::new(125_050, "EUR".parse().expect("a currency"));
        let mut messages = vec![
            Message::Welcome,
            Message::Login { at: DateTime::UNIX_EPOCH },
            Message::AccountOverdraft { limit: amount },
            Message::StatementReady { from: chrono::NaiveDate::default(), to: chrono::NaiveDate::default() },
        ];
        for product in [Product::Current, Product::Savings, Product::Other] {
            messages.push(Message::AccountOpened { product, currency: amount.currency });
        }
        for status in [AccountStatus::Active, AccountStatus::Frozen, AccountStatus::Closed] {
            messages.push(Message::AccountStatus { status });
        }
        for kind in [TransactionKind::Transfer, TransactionKind::Deposit, TransactionKind::Withdrawal] {
            messages.push(Message::PaymentSent { amount, kind });
            messages.push(Message::PaymentReceived { amount, kind });
            for cause in [FailureCause::InsufficientFunds, FailureCause::Other] {
                messages.push(Message::PaymentFailed { amount, kind, cause });
            }
        }
        messages
    }

    fn templates() -> Templates {
        Templates::new("Vostro").expect("the templates parse")
    }

    #[test]
    fn every_message_has_words_in_every_language_on_every_channel() {
        let templates = templates();
        for locale in Locale::ALL {
            for message in messages() {
                for account in [None, Some("5399")] {
                    let app = templates.in_app(&message, account, locale).expect("in-app text");
                    let mail = templates.email(&message, account, locale, "Ada").expect("e-mail text");
                    assert!(mail.text.contains("Ada") && mail.html.contains("Ada"), "{message:?}");
                    for line in [&app.title, &mail.subject] {
                        assert!((3..=70).contains(&line.chars().count()), "{message:?}: {line:?}");
                    }
                    for text in [&app.title, &app.body, &mail.subject, &mail.text, &mail.html] {
                        assert!(!text.is_empty() && text.trim() == *text || text.starts_with("<!doctype"), "{text:?}");
                        assert!(!text.contains("  ") && !text.contains("{"), "{text:?}");
                    }
                    let names_account = app.body.contains("••5399");
                    let about_account = !matches!(message, Message::Welcome | Message::Login { .. });
                    assert_eq!(names_account, account.is_some() && about_account, "{message:?}: {}", app.body);
                }
            }
            assert!(!templates.unreadable(locale).expect("the stand-in").body.is_empty());
        }
    }

    #[test]
    fn amounts_are_written_as_the_language_writes_them() {
        let amount = Money::new(125_050, "EUR".parse().expect("a currency"));
        let message = Message::PaymentReceived { amount, kind: TransactionKind::Transfer };
        let title = |locale| templates().in_app(&message, None, locale).expect("text").title;
        assert_eq!(title(Locale::En), "You received 1,250.50\u{a0}EUR");
        assert_eq!(title(Locale::Cs), "Přijatá platba 1\u{a0}250,50\u{a0}EUR");
    }

    #[test]
    fn no_text_speaks_of_compliance() {
        let templates = templates();
        for locale in Locale::ALL {
            for message in messages() {
                let mail = templates.email(&message, Some("5399"), locale, "Ada").expect("e-mail text");
                for word in ["complian", "suspic", "launder", "screening", "podezř", "praní"] {
                    assert!(!mail.text.to_lowercase().contains(word), "{message:?} says {word}");
                }
            }
        }
    }

    #[test]
    fn a_name_is_neither_markup_nor_a_paragraph() {
        let name = "<b>Ada</b>\r\n\r\nCall +1 900 {{ bank }}";
        let mail = templates().email(&Message::Welcome, None, Locale::En, name).expect("text");
        assert!(mail.html.contains("&lt;b&gt;Ada") && !mail.html.contains("<b>"), "{}", mail.html);
        assert!(mail.text.contains("Call +1 900 {{ bank }}") && !mail.text.contains("\nCall"), "{}", mail.text);
    }

    #[test]
    fn a_missing_variable_is_an_error_and_not_an_empty_place() {
        let sources = [("en/welcome.in_app.txt", "Hello {{ nobody }}\n\ntext")];
        let templates = Templates::of(&sources, "Vostro").expect("parses");
        let error = templates.in_app(&Message::Welcome, None, Locale::En).expect_err("undefined");
        assert_eq!(error.code(), "NTF_TEMPLATE_VARIABLE_MISSING");

        let sources = [
            ("en/_footer.email.txt", "{{ nobody }}"),
            ("en/welcome.email.txt", "Hello\n\n{% include \"en/_footer.email.txt\" %}"),
        ];
        let templates = Templates::of(&sources, "Vostro").expect("parses");
        let error = templates.email(&Message::Welcome, None, Locale::En, "Ada").expect_err("undefined");
        assert_eq!(error.code(), "NTF_TEMPLATE_VARIABLE_MISSING");
    }

    #[test]
    fn a_template_that_does_not_parse_or_is_not_there_is_invalid() {
        let error = Templates::of(&[("en/welcome.in_app.txt", "{% if %}")], "Vostro").err().expect("broken");
        assert_eq!(error.code(), "NTF_TEMPLATE_INVALID");
        let none = Templates::of(&[], "Vostro").expect("nothing to parse");
        let error = none.in_app(&Message::Welcome, None, Locale::En).expect_err("not there");
        assert_eq!(error.code(), "NTF_TEMPLATE_INVALID");
    }

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let mut files = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in folder.read_dir().expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&root).expect("inside").to_string_lossy().replace('\\', "/");
                    files.push(name);
                }
            }
        }
        files.sort();
        assert_eq!(files, SOURCES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
