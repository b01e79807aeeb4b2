use std::sync::Arc;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use uuid::Uuid;
use vostro_events::{Envelope, read_structured};
use vostro_kernel::{Clock, SystemClock, SystemIds};
use vostro_messaging::rpc::Asking;
use vostro_messaging::{Caching, Company, Foundation, NOTICES_HANG_UP, Outbox, cut_off_abandoned};

/// A database that exists for one test, with one module's schema in it. Dropped with the value.
///
/// The pool is connected as the owner with `search_path` set to the module's schema, so that tests can also do what the
/// module's own role may not, such as tampering with history.
pub struct Database {
    name: String,
    server: PgConnectOptions,
    pool: PgPool,
}

impl Database {
    /// Creates the database, the module's schema, the messaging tables and the module's own.
    ///
    /// # Panics
    /// When there is no server to create it on: a test without its database proves nothing.
    pub async fn create(module: &str, migrations: &Migrator) -> Self {
        let url = std::env::var("VOSTRO_TEST_DATABASE_URL")
            .expect("VOSTRO_TEST_DATABASE_URL names a PostgreSQL server (make test sets it)");
        let server: PgConnectOptions = url.parse().expect("VOSTRO_TEST_DATABASE_URL is a PostgreSQL URL");
        let name = format!("vostro_test_{}", Uuid::now_v7().simple());
        let mut connection = PgConnection::connect_with(&server).await.expect("the test server answers");
        run(&mut connection, format!("create database {name} template template0")).await;
        connection.close().await.expect("a clean goodbye");

        let search_path = format!("{module},public");
        let options = server.clone().database(&name).options([("search_path", search_path.as_str()), NOTICES_HANG_UP]);
        let pool = cut_off_abandoned(PgPoolOptions::new().max_connections(8));
        let pool = pool.connect_with(options).await.expect("the new database answers");
        let mut connection = pool.acquire().await.expect("a connection");
        run(&mut connection, format!("create schema {module}")).await;
        apply(&vostro_messaging::MIGRATIONS, module, "messaging", &mut connection).await;
        apply(migrations, module, "module", &mut connection).await;
        drop(connection);
        Self { name, server, pool }
    }

    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// What the module under test stands on, with the machine's clock.
    pub fn foundation(&self) -> Foundation {
        self.foundation_at(Arc::new(SystemClock))
    }

    /// The same with a clock the test controls.
    pub fn foundation_at(&self, clock: Arc<dyn Clock>) -> Foundation {
        Foundation {
            pool: self.pool.clone(),
            outbox: Outbox::default(),
            clock,
            ids: Arc::new(SystemIds),
            company: Company::default(),
            asking: Asking::new("test"),
            // What a test changes behind a module's back is to be seen.
            caching: Caching::OFF,
        }
    }

    /// Every event in the outbox with its data, in the order it would be published.
    pub async fn outbox_events(&self) -> Vec<(Envelope, serde_json::Value)> {
        let rows: Vec<Vec<u8>> = sqlx::query_scalar("select event from outbox order by id")
            .fetch_all(&self.pool)
            .await
            .expect("the outbox is readable");
        rows.iter()
            .map(|bytes| {
                let (envelope, data) = read_structured(bytes).expect("the outbox holds events");
                (envelope, serde_json::from_str(data.get()).expect("the data is JSON"))
            })
            .collect()
    }

    /// The number that a query gives.
    ///
    /// # Panics
    /// When it gives none.
    pub async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.expect("a number")
    }

    /// The data of the outbox events of one type, in order.
    pub async fn published(&self, event_type: &str) -> Vec<serde_json::Value> {
        let events = self.outbox_events().await;
        events
            .into_iter()
            .filter(|(envelope, _)| envelope.event_type.as_str() == event_type)
            .map(|(_, data)| data)
            .collect()
    }

    /// The data of the outbox events of one type, in order, and takes them out as the relay would.
    pub async fn take_published(&self, event_type: &str) -> Vec<serde_json::Value> {
        let taken = self.published(event_type).await;
        sqlx::query("delete from outbox where event_type = $1")
            .bind(event_type)
            .execute(&self.pool)
            .await
            .expect("the outbox can be emptied");
        taken
    }

    /// Runs one statement as the owner, for what a test does behind the module's back.
    ///
    /// # Panics
    /// When the statement fails.
    pub async fn tamper(&self, statement: &str) {
        let mut connection = self.pool.acquire().await.expect("a connection");
        run(&mut connection, statement.to_owned()).await;
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name, pool) = (self.server.clone(), self.name.clone(), self.pool.clone());
        // A runtime of its own: the test's runtime is going down, and dropping cannot be asynchronous.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                drop(pool);
                let mut connection = PgConnection::connect_with(&server).await.expect("the test server answers");
                run(&mut connection, format!("drop database if exists {name} with (force)")).await;
            });
        });
        // Joining keeps the test from ending before its database is gone; a failure here must not hide the test's own.
        let _ = dropping.join();
    }
}

async fn run(connection: &mut PgConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement.clone()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

async fn apply(migrations: &Migrator, schema: &str, what: &str, connection: &mut PgConnection) {
    let mut migrator = Migrator {
        migrations: migrations.migrations.clone(),
        ignore_missing: false,
        locking: false,
        ..Migrator::DEFAULT
    };
    migrator.dangerous_set_table_name(format!("{schema}._{what}_migrations"));
    migrator.run(connection).await.unwrap_or_else(|error| panic!("{what} migrations of {schema}: {error}"));
}
