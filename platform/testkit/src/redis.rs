use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::net::UnixStream;
use uuid::Uuid;

use crate::eventually;

/// A Redis of one test, which may kill it. It listens on a socket in the temporary folder, keeps nothing on disk, and
/// is gone when dropped.
pub struct Redis {
    socket: PathBuf,
    process: Option<Child>,
}

impl Redis {
    /// # Panics
    /// When `redis-server` is not installed: `scripts/install.sh redis-server` brings it.
    pub async fn start() -> Self {
        let socket = std::env::temp_dir().join(format!("vostro-redis-{}.sock", Uuid::now_v7().simple()));
        let mut redis = Self { socket, process: None };
        redis.restart().await;
        redis
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    /// Starts it again, empty.
    pub async fn restart(&mut self) {
        self.kill();
        self.process = Some(serve(&self.socket));
        let socket = &self.socket;
        eventually("Redis listens", || async { UnixStream::connect(socket).await.ok().map(drop) }).await;
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it is this test's process");
            process.wait().expect("it is this test's process");
        }
        let _ = std::fs::remove_file(&self.socket);
    }

    /// It takes connections and questions and answers none, until it goes on.
    pub fn hang(&self) {
        self.signal("-STOP");
    }

    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args([signal, &process]).status().expect("there is a program called kill");
        assert!(status.success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn serve(socket: &Path) -> Child {
    Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
        .arg(socket)
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed (scripts/install.sh redis-server)")
}
