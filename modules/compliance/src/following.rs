use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::{Stream, stream};
use sqlx::PgPool;
use uuid::Uuid;
use vostro_kernel::Page;
use vostro_messaging::{Listener, LiveFeed, Look, Missed, UpdateKind};

use crate::error::ComplianceError;
use crate::store::evidence::{self, Evidence};
use crate::store::violations::{self, Violation};

/// What officers have to hear of, right after its commit.
pub(crate) type Findings = LiveFeed<(), News>;

/// That there is something to look for. Who hears of it reads what there is: what was committed before it elsewhere may
/// not have been told here yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    Found {
        at: DateTime<Utc>,
        id: Uuid,
    },
    /// The document's position.
    Attached(i64),
}

impl News {
    pub fn found(violation: &Violation) -> Self {
        Self::Found { at: violation.detected_at, id: violation.violation_id }
    }
}

/// How many of the latest violations a stream begins with.
const SNAPSHOT: i64 = 20;
/// How many violations or documents a listener catches up with at most. Whoever is further behind begins anew.
const MOST: i64 = 1_000;

/// How far a stream had come. Violations are committed one transaction after the other with times that never go back, and
/// documents with positions that grow, so this tells what was told from what was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// All violations before this time were told.
    pub at: DateTime<Utc>,
    /// Which of exactly this time were.
    pub ids: Vec<Uuid>,
    /// All documents up to this position were told; `None` in a stream that tells of none.
    pub document: Option<i64>,
}

impl Position {
    const BEGINNING: Self = Self { at: DateTime::UNIX_EPOCH, ids: Vec::new(), document: None };

    /// Whether it was told already, or is not to be.
    fn knows(&self, news: News) -> bool {
        match news {
            News::Found { at, id } => at < self.at || (at == self.at && self.ids.contains(&id)),
            News::Attached(position) => self.document.is_none_or(|told| position <= told),
        }
    }

    /// Moves behind it; `false` when it was told before.
    fn pass(&mut self, news: News) -> bool {
        if self.knows(news) {
            return false;
        }
        match news {
            News::Found { at, id } => {
                if at > self.at {
                    self.ids.clear();
                    self.at = at;
                }
                self.ids.push(id);
            }
            News::Attached(position) => self.document = Some(position),
        }
        true
    }
}

/// A violation that is told, or what has happened to it.
#[derive(Debug, Clone)]
pub struct ViolationUpdate {
    pub violation: Arc<Violation>,
    /// The document that has come; in a snapshot the latest.
    pub evidence: Option<Evidence>,
    pub kind: UpdateKind,
    /// From where to go on behind it.
    pub position: Position,
}

impl ViolationUpdate {
    /// The violation's own: 1 when it was found, and one more with each document.
    pub fn sequence(&self) -> i64 {
        self.evidence.as_ref().map_or(1, |evidence| evidence.sequence)
    }

    pub fn occurred_at(&self) -> DateTime<Utc> {
        self.evidence.as_ref().map_or(self.violation.detected_at, |evidence| evidence.attached_at)
    }
}

/// From where a stream tells.
pub(crate) enum Start {
    /// The latest violations, and then what comes.
    Now {
        with_documents: bool,
    },
    After(Position),
}

/// One listener.
struct Following {
    pool: PgPool,
    live: Listener<(), News>,
    position: Position,
    kind: UpdateKind,
    ready: VecDeque<ViolationUpdate>,
}

/// The latest violations, oldest first, or what happened behind the position, and then what happens. Whoever is more than
/// [`MOST`] behind gets the latest, the first of them marked as [`UpdateKind::Lagged`].
pub(crate) async fn follow(
    pool: PgPool,
    findings: &Findings,
    start: Start,
) -> sqlx::Result<impl Stream<Item = Result<ViolationUpdate, ComplianceError>> + Send + use<>> {
    // Listening first: what is committed between the look and the first news is heard twice, never lost.
    let live = findings.listen(());
    let (position, is_new) = match start {
        Start::Now { with_documents } => {
            (Position { document: with_documents.then_some(0), ..Position::BEGINNING }, true)
        }
        Start::After(position) => (position, false),
    };
    let mut following = Following { pool, live, position, kind: UpdateKind::Change, ready: VecDeque::new() };
    if is_new {
        following.begin(UpdateKind::Snapshot).await?;
    } else {
        following.catch_up().await?;
    }
    Ok(stream::try_unfold(following, |mut following| async move {
        let update = following.next().await?;
        Ok(Some((update, following)))
    }))
}

impl Following {
    async fn next(&mut self) -> Result<ViolationUpdate, ComplianceError> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                return Ok(update);
            }
            match self.live.recv().await {
                Ok(news) if self.position.knows(news) => {}
                Ok(_) | Err(Missed) => self.catch_up().await?,
            }
        }
    }

    /// The state now: the latest violations with the latest document of each.
    async fn begin(&mut self, kind: UpdateKind) -> sqlx::Result<()> {
        // What comes after this position is told after the state.
        let document = match self.position.document {
            Some(_) => Some(evidence::newest(&self.pool).await?),
            None => None,
        };
        let (newest, mut together) = violations::latest(&self.pool).await?.unwrap_or_default();
        let latest = violations::page(&self.pool, Page::forward(None, SNAPSHOT)).await?;
        // Those of the same time that the state does not show are no news afterwards.
        together.retain(|id| latest.iter().all(|violation| violation.violation_id != *id));
        self.position = Position { document, ..Position::BEGINNING };
        let mut documents = self.documents_of(&latest).await?;
        self.kind = kind;
        for violation in latest.into_iter().rev() {
            if violation.detected_at == newest && self.position.at < newest {
                self.position.at = newest;
                self.position.ids = std::mem::take(&mut together);
            }
            self.position.pass(News::found(&violation));
            let evidence = documents.remove(&violation.violation_id);
            self.tell(Arc::new(violation), evidence);
            // One gap, one mark; a beginning is one as a whole.
            self.kind = if kind == UpdateKind::Lagged { UpdateKind::Change } else { kind };
        }
        self.kind = UpdateKind::Change;
        Ok(())
    }

    /// Makes ready what was not told.
    async fn catch_up(&mut self) -> sqlx::Result<()> {
        // Documents are read before violations and told after them: the violation of each of them is then known.
        let attached = match self.position.document {
            Some(told) => evidence::since(&self.pool, told, MOST).await?,
            None => Vec::new(),
        };
        let found = violations::since(&self.pool, self.position.at, MOST).await?;
        if [attached.len(), found.len()]
            .into_iter()
            .any(|missed| i64::try_from(missed).is_ok_and(|missed| missed >= MOST))
        {
            return self.begin(UpdateKind::Lagged).await;
        }
        // Those of a state that was cut off in the middle may have documents that count as told.
        let mut documents = self.documents_of(&found).await?;
        for violation in found {
            if self.position.pass(News::found(&violation)) {
                let evidence = documents.remove(&violation.violation_id);
                self.tell(Arc::new(violation), evidence);
            }
        }
        if attached.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = attached.iter().map(|document| document.violation_id).collect();
        let about = violations::by_ids(&self.pool, &ids).await?;
        let about: HashMap<_, _> = about.into_iter().map(|found| (found.violation_id, Arc::new(found))).collect();
        for document in attached {
            if self.position.pass(News::Attached(document.position))
                && let Some(violation) = about.get(&document.violation_id)
            {
                self.tell(Arc::clone(violation), Some(document));
            }
        }
        Ok(())
    }

    /// The latest document of each violation as of the position, where the stream tells of documents.
    async fn documents_of(&self, violations: &[Violation]) -> sqlx::Result<HashMap<Uuid, Evidence>> {
        let Some(position) = self.position.document else { return Ok(HashMap::new()) };
        let ids: Vec<Uuid> = violations.iter().map(|violation| violation.violation_id).collect();
        let documents = evidence::newest_of(&self.pool, &ids, position).await?;
        Ok(documents.into_iter().map(|document| (document.violation_id, document)).collect())
    }

    fn tell(&mut self, violation: Arc<Violation>, evidence: Option<Evidence>) {
        let update = ViolationUpdate { violation, evidence, kind: self.kind, position: self.position.clone() };
        self.ready.push_back(update);
    }
}

/// What happens in other instances.
pub(crate) struct FoundElsewhere {
    pool: PgPool,
    position: Option<Position>,
}

impl FoundElsewhere {
    pub(crate) const fn new(pool: PgPool) -> Self {
        Self { pool, position: None }
    }
}

#[async_trait]
impl Look<(), News> for FoundElsewhere {
    /// The first look tells the latest: whoever listens knows what was there before.
    async fn look(&mut self, _: Vec<()>) -> sqlx::Result<Vec<((), News)>> {
        let found = match &self.position {
            Some(position) => violations::since(&self.pool, position.at, MOST).await?,
            None => violations::page(&self.pool, Page::forward(None, 1)).await?,
        };
        let document = evidence::newest(&self.pool).await?;
        let position = self.position.get_or_insert(Position { document: Some(0), ..Position::BEGINNING });
        let news = found.iter().map(News::found).chain([News::Attached(document)]);
        Ok(news.filter(|news| position.pass(*news)).map(|news| ((), news)).collect())
    }
}
