use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};

use super::{HandOverError, Mail};

/// The e-mail as it travels: plain text and HTML, with an id that is the same at every attempt, so that a mailbox that
/// got it twice can tell.
pub(super) fn message(mail: &Mail) -> Result<Message, HandOverError> {
    let address: Address = mail.to.email.parse().map_err(|_| HandOverError::Address)?;
    let name = mail.to.display_name.split(char::is_control).collect::<Vec<_>>().join(" ");
    let id = format!("<{}@{}>", mail.notification_id.as_hyphenated(), mail.from.email.domain());
    // RFC 3834: keeps out-of-office replies away.
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    Message::builder()
        .from(mail.from.clone())
        .to(Mailbox::new(Some(name).filter(|name| !name.trim().is_empty()), address))
        .subject(mail.content.subject.clone())
        .message_id(Some(id))
        .date(mail.date.into())
        .raw_header(automatic)
        .multipart(MultiPart::alternative_plain_html(mail.content.text.clone(), mail.content.html.clone()))
        .map_err(|_| HandOverError::Address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::templates::EmailText;
    use chrono::DateTime;
    use uuid::Uuid;
    use vostro_messaging::Contact;

    fn mail(name: &str, email: &str) -> Mail {
        Mail {
            notification_id: Uuid::nil(),
            from: "Vostro <no-reply@bank.example>".parse().expect("an address"),
            to: Contact { display_name: name.to_owned(), email: email.to_owned() },
            content: EmailText {
                subject: "Přijatá platba".to_owned(),
                text: "Dobrý den".to_owned(),
                html: "<p>Dobrý den</p>".to_owned(),
            },
            date: DateTime::UNIX_EPOCH,
        }
    }

    fn text(mail: &Mail) -> String {
        String::from_utf8(message(mail).expect("a message").formatted()).expect("encoded to ASCII")
    }

    #[test]
    fn the_message_id_follows_from_the_notification() {
        let text = text(&mail("Ada", "ada@example.org"));
        assert!(text.contains("Message-ID: <00000000-0000-0000-0000-000000000000@bank.example>\r\n"), "{text}");
        assert!(text.contains("Auto-Submitted: auto-generated\r\n"), "{text}");
        assert!(text.is_ascii() && text.contains("text/plain") && text.contains("text/html"), "{text}");
    }

    #[test]
    fn a_name_cannot_add_headers_or_recipients() {
        let mail = mail("Ada\r\nBcc: eve@example.org", "ada@example.org");
        assert!(!text(&mail).contains("\nBcc:"));
        assert_eq!(message(&mail).expect("a message").envelope().to().len(), 1);
    }

    #[test]
    fn what_is_no_address_is_said_to_be_none() {
        for email in ["", "ada", "ada@", "ada@example.org, eve@example.org", "ada@example.org\r\nRCPT TO:<eve@x>"] {
            assert_eq!(message(&mail("Ada", email)).err(), Some(HandOverError::Address), "{email:?}");
        }
    }
}
