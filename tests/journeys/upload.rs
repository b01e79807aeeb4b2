//! Documents that compliance officers keep with violations: over the door of one process, and over a gateway.

use std::net::SocketAddr;

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use crate::federation::parts::Parts;
use crate::support::{Person, Staff, World, eventually};

const ATTACH: &str = "mutation($input: ComplianceEvidenceAttachInput!) { complianceEvidenceAttach(input: $input) {
    replayed evidence { id fileName mediaType size } userErrors { code } } }";
const PDF: &[u8] = b"%PDF-1.7 a letter";

/// A request with files, part by part.
pub struct Form {
    body: Vec<u8>,
    csrf: bool,
}

impl Form {
    fn new() -> Self {
        Self { body: Vec::new(), csrf: true }
    }

    pub fn part(mut self, name: &str, file: Option<&str>, content: impl AsRef<[u8]>) -> Self {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        let head = format!("--vostro\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        self.body.extend([head.as_bytes(), content.as_ref(), b"\r\n"].concat());
        self
    }

    fn operations(self, operations: &Value) -> Self {
        self.part("operations", None, operations.to_string())
    }

    fn map(self, map: &Value) -> Self {
        self.part("map", None, map.to_string())
    }

    /// A request as it should be, but for its file.
    pub fn attaching_to(violation: &str) -> Self {
        Self::new().operations(&operation(ATTACH, Some(violation))).map(&json!({"0": ["variables.input.file"]}))
    }

    async fn send(self, world: &World, token: &str) -> Response {
        self.send_to(world.config.http.address, token).await
    }

    pub async fn send_to(self, address: SocketAddr, token: &str) -> Response {
        let url = format!("http://{address}/graphql");
        let mut request = Client::new().post(url).bearer_auth(token);
        if self.csrf {
            request = request.header("x-graphql-csrf", "1");
        }
        let body = [&self.body[..], b"--vostro--\r\n"].concat();
        let request = request.header("content-type", "multipart/form-data; boundary=vostro").body(body);
        request.header("accept", "application/graphql-response+json").send().await.expect("an answer")
    }
}

fn operation(query: &str, violation: Option<&str>) -> Value {
    json!({"query": query, "variables": {"input": {"violationId": violation, "file": null}}})
}

/// What is paid to somebody of whom the rules find a violation.
pub const LARGE_SUM: &str = "50000.00";

/// A violation the rules find after somebody was paid a large sum.
pub async fn violation(staff: &Staff) -> String {
    eventually("a violation is found", || async {
        let mut officer = staff.officer_connection().await;
        let found = officer.data("{ violations(first: 1) { nodes { id } } }", json!({})).await.ok()?;
        found["violations"]["nodes"][0]["id"].as_str().map(str::to_owned)
    })
    .await
}

/// Keeps a document with a violation, and returns what the mutation answered.
pub async fn attach_letter(world: &World, staff: &Staff, violation: &str) -> Value {
    let form = Form::attaching_to(violation).part("0", Some("letter.pdf"), PDF);
    let mut answer: Value = form.send(world, &staff.officer).await.json().await.expect("JSON");
    answer["data"]["complianceEvidenceAttach"].take()
}

async fn is_kept_and_read_back(world: &World, staff: &Staff) {
    Person::with_money(world, staff, "ada", LARGE_SUM).await;
    let violation = violation(staff).await;
    for replayed in [false, true] {
        let attached = attach_letter(world, staff, &violation).await;
        assert_eq!((&attached["replayed"], &attached["userErrors"]), (&json!(replayed), &json!([])), "{attached}");
        assert_eq!(attached["evidence"]["mediaType"], "application/pdf", "{attached}");
    }
    let mut officer = staff.officer_connection().await;
    let listed = "query($id: ID!) { violationEvidence(violationId: $id) { nodes { id fileName size } } }";
    let listed = officer.data(listed, json!({"id": violation})).await.expect("an answer");
    let [kept] = &listed["violationEvidence"]["nodes"].as_array().expect("a list")[..] else {
        panic!("one document: {listed}")
    };
    assert_eq!((&kept["fileName"], &kept["size"]), (&json!("letter.pdf"), &json!(PDF.len())));
    let content = officer.data("query($id: ID!) { evidenceContent(id: $id) }", json!({"id": kept["id"]})).await;
    assert_eq!(content.expect("an answer")["evidenceContent"], "JVBERi0xLjcgYSBsZXR0ZXI=");
    are_found_by_id(staff, &violation, kept["id"].as_str().expect("an id")).await;
}

/// By their ids alone, and only by who may look into the audit log.
async fn are_found_by_id(staff: &Staff, violation: &str, evidence: &str) {
    let nodes = "query($id: ID!, $ids: [ID!]!) {
        node(id: $id) { ... on Violation { ruleId subjectId } }
        nodes(ids: $ids) { __typename id ... on Evidence { fileName violationId } } }";
    let unknown = "evd_01890a5d-ac96-774b-bcce-b302099a8057";
    let variables = json!({"id": violation, "ids": [evidence, unknown, violation]});
    for mut connection in [staff.officer_connection().await, staff.admin_connection().await] {
        let answer = connection.answer(nodes, variables.clone()).await.expect("an answer");
        assert_eq!(answer.get("errors"), None, "{answer}");
        assert_eq!(answer["data"]["node"]["ruleId"], "LARGE_TRANSFER", "{answer}");
        let document =
            json!({"__typename": "Evidence", "id": evidence, "fileName": "letter.pdf", "violationId": violation});
        let found = json!([document, null, {"__typename": "Violation", "id": violation}]);
        assert_eq!(answer["data"]["nodes"], found, "{answer}");
    }
    let answer = staff.operator_connection().await.answer(nodes, variables).await.expect("an answer");
    assert_eq!(answer.get("errors"), None, "hidden is absent: {answer}");
    assert_eq!(answer["data"], json!({"node": null, "nodes": [null, null, null]}), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_officer_keeps_a_document_with_a_violation_and_what_is_no_such_request_is_refused() {
    let world = World::create().await;
    let bank = world.open_bank().await;
    let staff = Staff::hire(&world).await;
    is_kept_and_read_back(&world, &staff).await;

    let violation = "vio_01890a5d-ac96-774b-bcce-b302099a8057";
    let whole = || Form::attaching_to(violation).part("0", Some("a.pdf"), PDF);
    let attach = operation(ATTACH, Some(violation));
    let place = json!({"0": ["variables.input.file"]});
    let field = "complianceEvidenceAttach(input: $input) { replayed }";
    let twice = format!("mutation($input: ComplianceEvidenceAttachInput!) {{ a: {field} b: {field} }}");
    let large = vec![b'x'; 1024 * 1024 + 1];
    let cases = [
        (Form { csrf: false, ..whole() }, "OPERATION_NOT_ALLOWED"),
        (
            Form::new().operations(&operation("mutation { logout { loggedOut } }", None)).map(&place),
            "OPERATION_NOT_ALLOWED",
        ),
        (Form::new().operations(&operation(&twice, Some(violation))).map(&place), "OPERATION_NOT_ALLOWED"),
        (Form::new().operations(&json!([attach])).map(&place), "BAD_USER_INPUT"),
        (Form::new().operations(&attach).part("0", Some("a.pdf"), PDF), "BAD_USER_INPUT"),
        (Form::attaching_to(violation), "BAD_USER_INPUT"),
        (whole().part("1", Some("b.pdf"), PDF), "BAD_USER_INPUT"),
        // The violation's id is no file.
        (
            Form::new().operations(&operation(ATTACH, None)).map(&json!({"0": ["variables.input.violationId"]})),
            "BAD_USER_INPUT",
        ),
        (
            Form::new().operations(&attach).map(&json!({"0": ["variables.a"], "1": ["variables.b"]})),
            "PAYLOAD_TOO_LARGE",
        ),
        (Form::attaching_to(violation).part("0", Some("a"), large), "PAYLOAD_TOO_LARGE"),
    ];
    for (form, code) in cases {
        let response = form.send(&world, &staff.officer).await;
        let status = if code == "PAYLOAD_TOO_LARGE" { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
        assert_eq!(response.status(), status, "{code}");
        let answer: Value = response.json().await.expect("JSON");
        assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{answer}");
        assert_eq!(answer.get("data"), None, "nothing was begun: {answer}");
    }
    // In a request without files no text stands for one.
    let input = json!({"input": {"violationId": violation, "file": "0"}});
    let answer = staff.officer_connection().await.answer(ATTACH, input).await.expect("an answer");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{answer}");
    let answer: Value = whole().send(&world, &staff.operator).await.json().await.expect("JSON");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_reaches_a_module_in_another_process() {
    let mut world = World::create().await;
    let parts = Parts::start(&world).await;
    world.config.http.address = parts.gateway;
    let staff = Staff::hire(&world).await;
    is_kept_and_read_back(&world, &staff).await;
}
