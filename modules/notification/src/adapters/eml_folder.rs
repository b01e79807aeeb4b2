use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use tokio::fs;
use tokio::io::AsyncWriteExt;

use super::{HandOverError, Mail, MailTransport, mime};

/// Writes e-mails as `.eml` files, which every mail program opens. For trying the bank out without a mail server.
///
/// The file is named after the notification, so that sending it twice leaves one file; it appears under that name only
/// when it is complete.
pub(super) struct EmlFolder {
    folder: PathBuf,
}

impl EmlFolder {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    async fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let unfinished = self.folder.join(format!(".{name}.part"));
        let mut file = fs::File::create(&unfinished).await?;
        file.write_all(bytes).await?;
        file.sync_all().await?;
        drop(file);
        fs::rename(&unfinished, self.folder.join(format!("{name}.eml"))).await
    }
}

#[async_trait]
impl MailTransport for EmlFolder {
    async fn prepare(&self) -> Result<(), String> {
        let cannot = |error: io::Error| format!("e-mails cannot be written to {}: {error}", self.folder.display());
        fs::create_dir_all(&self.folder).await.map_err(cannot)
    }

    async fn hand_over(&self, mail: &Mail) -> Result<String, HandOverError> {
        let bytes = mime::message(mail)?.formatted();
        let name = mail.notification_id.as_hyphenated().to_string();
        match self.write(&name, &bytes).await {
            Ok(()) => Ok("folder".to_owned()),
            Err(error) => Err(HandOverError::Unavailable(format!("FOLDER_{:?}", error.kind()).to_uppercase())),
        }
    }
}
