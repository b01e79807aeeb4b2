//! Every token the bank must not accept, made from one it does.

use chrono::TimeDelta;
use jsonwebtoken::{EncodingKey, crypto};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use uuid::Uuid;
use vostro_kernel::{ActorKind, FixedClock, Role, Roles};

use super::*;
use crate::domain::KeyState;
use crate::tokens::{KeyPair, RingKey};

const ISSUER: &str = "https://bank.example/";
const AUDIENCE: &str = "bank-api";
const NOW: i64 = 1_800_000_000;

struct Fixture {
    clock: Arc<FixedClock>,
    issuer: Issuer,
    revocations: Arc<Revocations>,
    verifier: TokenVerifier,
    active: KeyPair,
    next: KeyPair,
}

impl Fixture {
    fn new() -> Self {
        let now = DateTime::from_timestamp(NOW, 0).expect("an instant");
        let clock = Arc::new(FixedClock::at(now));
        let issuer = Issuer { keys: KeyRing::default(), issuer: ISSUER.to_owned(), audience: AUDIENCE.to_owned() };
        let revocations = Arc::new(Revocations::new(Duration::from_secs(3600)));
        revocations.looked(now);
        let verifier =
            TokenVerifier::new(&issuer, Arc::clone(&revocations), Arc::clone(&clock) as Arc<dyn Clock>, 1000);
        let (active, next) = (pair(), pair());
        let fixture = Self { clock, issuer, revocations, verifier, active, next };
        fixture.load(&[(&fixture.active, KeyState::Active), (&fixture.next, KeyState::Next)]);
        fixture
    }

    fn load(&self, keys: &[(&KeyPair, KeyState)]) {
        let keys = keys.iter().map(|(pair, state)| RingKey {
            kid: pair.kid.clone(),
            state: *state,
            public: pair.public.clone(),
            private: (*state == KeyState::Active).then(|| pair.private.clone()),
        });
        self.issuer.keys.replace(&keys.collect::<Vec<_>>()).expect("keys");
    }

    /// A token as the bank issues it.
    fn issue(&self, roles: &[Role]) -> (String, TokenSubject) {
        let roles = roles.iter().copied().collect();
        let subject = TokenSubject { user_id: Uuid::now_v7(), session_id: Uuid::now_v7(), roles };
        let now = self.clock.now();
        let token = self.issuer.issue(&subject, Uuid::now_v7(), now, now + TimeDelta::minutes(10)).expect("a token");
        (token.expose_secret().to_owned(), subject)
    }

    fn header(&self) -> Value {
        json!({"typ": "at+jwt", "alg": "ES256", "kid": self.active.kid})
    }

    /// Signs any header and claims with the bank's own key.
    fn sign(&self, header: &Value, claims: &Value) -> String {
        sign(&self.active, header, claims)
    }

    fn judge(&self, header: &Value, claims: &Value) -> Result<VerifiedToken, TokenFault> {
        self.verifier.verify(&self.sign(header, claims))
    }

    /// The fault of a token whose header differs from a good one in one member (`null` removes it).
    fn with_header(&self, member: &str, value: Value) -> TokenFault {
        self.judge(&replaced(self.header(), member, value), &claims()).expect_err("refused")
    }

    /// The same for a claim.
    fn with_claim(&self, claim: &str, value: Value) -> TokenFault {
        self.judge(&self.header(), &replaced(claims(), claim, value)).expect_err("refused")
    }
}

fn pair() -> KeyPair {
    KeyPair::generate().expect("a key pair")
}

fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "usr_01890a5d-ac96-774b-bcce-b302099a8057",
        "client_id": "vostro",
        "sid": "ses_01890a5d-ac96-774b-bcce-b302099a8058",
        "jti": "01890a5d-ac96-774b-bcce-b302099a8059",
        "iat": NOW,
        "exp": NOW + 600,
        "roles": ["CUSTOMER"],
    })
}

fn replaced(mut object: Value, member: &str, value: Value) -> Value {
    let map = object.as_object_mut().expect("an object");
    if value.is_null() {
        map.remove(member);
    } else {
        map.insert(member.to_owned(), value);
    }
    object
}

fn message(header: &[u8], claims: &[u8]) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

fn sign_text(pair: &KeyPair, header: &[u8], claims: &[u8]) -> String {
    let message = message(header, claims);
    let key = EncodingKey::from_ec_der(pair.private.expose_secret());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::ES256).expect("a signature");
    format!("{message}.{signature}")
}

fn sign(pair: &KeyPair, header: &Value, claims: &Value) -> String {
    sign_text(pair, header.to_string().as_bytes(), claims.to_string().as_bytes())
}

#[test]
fn a_token_of_the_bank_speaks_for_its_person() {
    let fixture = Fixture::new();
    let (token, subject) = fixture.issue(&[Role::Customer, Role::Operator]);
    let verified = fixture.verifier.verify(&token).expect("accepted");
    let actor = verified.actor;
    assert_eq!(actor.id, Some(subject.user_id));
    assert_eq!(actor.session, Some(subject.session_id));
    assert_eq!(actor.roles, subject.roles);
    assert_eq!(actor.kind, ActorKind::Staff);
    assert_eq!(verified.expires_at.timestamp(), NOW + 600);
    assert_eq!(fixture.verifier.verify(&token), Ok(verified), "the second time from memory");
}

#[test]
fn the_token_the_others_are_made_from_is_a_good_one() {
    let fixture = Fixture::new();
    assert!(fixture.judge(&fixture.header(), &claims()).is_ok());
}

#[test]
fn nothing_is_a_missing_token() {
    assert_eq!(Fixture::new().verifier.verify(""), Err(TokenFault::Missing));
}

#[test]
fn garbage_is_malformed() {
    let fixture = Fixture::new();
    let (token, _) = fixture.issue(&[]);
    let huge = "a".repeat(100_000);
    let parts = token.split('.').collect::<Vec<_>>();
    let texts = [
        "x".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        huge,
        format!("{token}.x"),
        format!("Bearer {token}"),
        format!(" {token}"),
        format!("{}.{}", parts[0], parts[1]),
        format!("!{token}"),
        format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
        "żółć".to_owned(),
        message(b"null", b"null") + ".",
        message(b"[]", b"[]") + ".",
        message(b"{}", b"{}"),
    ];
    for text in texts {
        let shown = text.chars().take(60).collect::<String>();
        assert_eq!(fixture.verifier.verify(&text), Err(TokenFault::Malformed), "{shown}");
    }
}

#[test]
fn a_refresh_token_is_for_another_purpose() {
    let fixture = Fixture::new();
    let refresh = RefreshToken::fresh().expect("a token").into_secret();
    assert_eq!(fixture.verifier.verify(refresh.expose_secret()), Err(TokenFault::WrongPurpose));
}

#[test]
fn other_kinds_of_tokens_are_for_another_purpose() {
    let fixture = Fixture::new();
    for typ in ["JWT", "jwt", "AT+JWT", "at+JWT", "application/at+jwt", "dpop+jwt", "logout+jwt", "at+jwt ", ""] {
        assert_eq!(fixture.with_header("typ", typ.into()), TokenFault::WrongPurpose, "{typ:?}");
    }
    assert_eq!(fixture.with_header("typ", Value::Null), TokenFault::WrongPurpose);
    assert_eq!(fixture.with_header("typ", 7.into()), TokenFault::Malformed);
}

#[test]
fn no_algorithm_but_the_one_is_looked_at() {
    let fixture = Fixture::new();
    for alg in ["none", "None", "NONE", "HS256", "ES384", "RS256", "PS256", "EdDSA", "es256", ""] {
        assert_eq!(fixture.with_header("alg", alg.into()), TokenFault::BadSignature, "{alg}");
    }
    let unsigned = replaced(fixture.header(), "alg", "none".into()).to_string();
    let token = message(unsigned.as_bytes(), claims().to_string().as_bytes()) + ".";
    assert_eq!(fixture.verifier.verify(&token), Err(TokenFault::BadSignature));
}

#[test]
fn a_signature_made_with_the_public_key_as_a_secret_is_forged() {
    let fixture = Fixture::new();
    for alg in ["HS256", "ES256"] {
        let header = replaced(fixture.header(), "alg", alg.into()).to_string();
        let message = message(header.as_bytes(), claims().to_string().as_bytes());
        let key = EncodingKey::from_secret(&fixture.active.public);
        let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("a signature");
        assert_eq!(fixture.verifier.verify(&format!("{message}.{signature}")), Err(TokenFault::BadSignature));
    }
}

#[test]
fn a_token_somebody_else_signed_is_forged() {
    let fixture = Fixture::new();
    let stranger = pair();
    assert_eq!(fixture.verifier.verify(&sign(&stranger, &fixture.header(), &claims())), Err(TokenFault::BadSignature));
    let header = replaced(fixture.header(), "kid", stranger.kid.clone().into());
    assert_eq!(fixture.verifier.verify(&sign(&stranger, &header, &claims())), Err(TokenFault::BadSignature));
}

#[test]
fn an_unknown_or_missing_key_id_is_refused() {
    let fixture = Fixture::new();
    for kid in ["", "unknown", "../../etc/passwd", "' or 1=1 --"] {
        assert_eq!(fixture.with_header("kid", kid.into()), TokenFault::BadSignature, "{kid}");
    }
    assert_eq!(fixture.with_header("kid", fixture.next.kid.clone().into()), TokenFault::BadSignature);
    assert_eq!(fixture.with_header("kid", Value::Null), TokenFault::Malformed);
}

#[test]
fn a_header_that_says_more_than_ours_is_malformed() {
    let fixture = Fixture::new();
    let members = [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!(["b64"])),
        ("b64", json!(false)),
        ("jwk", json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["AAAA"])),
        ("cty", json!("JWT")),
        ("zip", json!("DEF")),
        ("unheard_of", json!(1)),
    ];
    for (member, value) in members {
        assert_eq!(fixture.with_header(member, value), TokenFault::Malformed, "{member}");
    }
}

#[test]
fn a_member_that_is_said_twice_is_malformed() {
    let fixture = Fixture::new();
    let header = fixture.header().to_string().replacen('{', r#"{"alg":"none","#, 1);
    let token = sign_text(&fixture.active, header.as_bytes(), claims().to_string().as_bytes());
    assert_eq!(fixture.verifier.verify(&token), Err(TokenFault::Malformed));
    for twice in [r#"{"sub":"usr_x","#, r#"{"exp":9999999999,"#, r#"{"roles":["ADMIN"],"#] {
        let claims = claims().to_string().replacen('{', twice, 1);
        let token = sign_text(&fixture.active, fixture.header().to_string().as_bytes(), claims.as_bytes());
        assert_eq!(fixture.verifier.verify(&token), Err(TokenFault::Malformed), "{twice}");
    }
}

#[test]
fn every_claim_is_required() {
    let fixture = Fixture::new();
    let claims = claims();
    let names = claims.as_object().expect("an object").keys();
    for name in names {
        assert_eq!(fixture.with_claim(name, Value::Null), TokenFault::Malformed, "{name}");
        let null = claims.to_string().replacen(&format!("\"{name}\":"), &format!("\"{name}\":null,\"was\":"), 1);
        let token = sign_text(&fixture.active, fixture.header().to_string().as_bytes(), null.as_bytes());
        assert_eq!(fixture.verifier.verify(&token), Err(TokenFault::Malformed), "{name} is null");
    }
}

#[test]
fn every_claim_has_one_type() {
    let fixture = Fixture::new();
    let others = [
        ("iss", json!([ISSUER])),
        ("aud", json!([AUDIENCE])),
        ("sub", json!(1)),
        ("sub", json!("01890a5d-ac96-774b-bcce-b302099a8057")),
        ("sub", json!("acc_01890a5d-ac96-774b-bcce-b302099a8057")),
        ("sid", json!("ses_")),
        ("jti", json!("not a uuid")),
        ("iat", json!("1800000000")),
        ("iat", json!(1_800_000_000.5)),
        ("nbf", json!("1800000000")),
        ("exp", json!("1800000600")),
        ("exp", json!(1e300)),
        ("exp", json!(-1)),
        ("roles", json!("ADMIN")),
        ("roles", json!(["SUPERUSER"])),
        ("roles", json!({"ADMIN": true})),
    ];
    for (claim, value) in others {
        assert_eq!(fixture.with_claim(claim, value.clone()), TokenFault::Malformed, "{claim} {value}");
    }
    for claims in ["null", "[]", "\"\"", "{", ""] {
        let token = sign_text(&fixture.active, fixture.header().to_string().as_bytes(), claims.as_bytes());
        assert_eq!(fixture.verifier.verify(&token), Err(TokenFault::Malformed), "{claims}");
    }
}

#[test]
fn a_token_for_somebody_else_is_for_another_purpose() {
    let fixture = Fixture::new();
    for claim in ["iss", "aud", "client_id"] {
        assert_eq!(fixture.with_claim(claim, "other".into()), TokenFault::WrongPurpose, "{claim}");
        assert_eq!(fixture.with_claim(claim, "".into()), TokenFault::WrongPurpose, "{claim}");
    }
    assert_eq!(fixture.with_claim("iss", "https://bank.example".into()), TokenFault::WrongPurpose);
}

#[test]
fn a_token_from_the_future_is_not_valid_yet() {
    let fixture = Fixture::new();
    let later = json!(NOW + 6);
    let claims = replaced(replaced(claims(), "iat", later.clone()), "exp", json!(NOW + 600));
    assert_eq!(fixture.judge(&fixture.header(), &claims), Err(TokenFault::NotYetValid));
    assert_eq!(fixture.with_claim("nbf", later), TokenFault::NotYetValid);
    assert!(fixture.judge(&fixture.header(), &replaced(self::claims(), "nbf", json!(NOW + 5))).is_ok());
}

#[test]
fn a_token_ends_with_its_expiry_also_when_it_is_remembered() {
    let fixture = Fixture::new();
    let (token, _) = fixture.issue(&[Role::Customer]);
    fixture.clock.advance(TimeDelta::seconds(604));
    assert!(fixture.verifier.verify(&token).is_ok(), "within the leeway");
    fixture.clock.advance(TimeDelta::seconds(1));
    assert_eq!(fixture.verifier.verify(&token), Err(TokenFault::Expired));
    let (fresh, _) = fixture.issue(&[Role::Customer]);
    fixture.clock.advance(TimeDelta::seconds(605));
    assert_eq!(fixture.verifier.verify(&fresh), Err(TokenFault::Expired), "never seen before");
}

#[test]
fn a_life_longer_than_the_bank_gives_is_malformed() {
    let fixture = Fixture::new();
    assert_eq!(fixture.with_claim("exp", json!(NOW + 901)), TokenFault::Malformed);
    assert_eq!(fixture.with_claim("iat", json!(NOW - 301)), TokenFault::Malformed);
}

#[test]
fn changing_any_letter_breaks_the_token() {
    let fixture = Fixture::new();
    let (token, _) = fixture.issue(&[Role::Customer]);
    assert!(fixture.verifier.verify(&token).is_ok());
    for position in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).expect("ASCII");
        assert!(fixture.verifier.verify(&changed).is_err(), "letter {position}");
    }
}

#[test]
fn the_end_of_a_session_ends_its_tokens_also_when_they_are_remembered() {
    let fixture = Fixture::new();
    let (token, subject) = fixture.issue(&[Role::Customer]);
    assert!(fixture.verifier.verify(&token).is_ok());
    fixture.revocations.session_revoked(subject.session_id, fixture.clock.now());
    assert_eq!(fixture.verifier.verify(&token), Err(TokenFault::Revoked));
    assert_eq!(fixture.verifier.verify(&malleated(&token)), Err(TokenFault::Revoked), "in its other spelling too");
}

/// The same token with the other valid signature: ECDSA takes (r, n − s) wherever it takes (r, s).
fn malleated(token: &str) -> String {
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (message, signature) = token.rsplit_once('.').expect("a signature");
    let mut signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let mut borrow = 0;
    for (digit, n) in signature[32..].iter_mut().zip(N).rev() {
        let difference = i16::from(n) - i16::from(*digit) - borrow;
        borrow = i16::from(difference < 0);
        *digit = u8::try_from(difference.rem_euclid(256)).expect("a byte");
    }
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn the_roles_of_a_token_are_those_the_person_has_now() {
    let fixture = Fixture::new();
    let (token, subject) = fixture.issue(&[Role::Customer, Role::Operator]);
    fixture.revocations.roles_changed(subject.user_id, [Role::Customer].into_iter().collect(), fixture.clock.now());
    let actor = fixture.verifier.verify(&token).expect("accepted").actor;
    assert_eq!((actor.kind, actor.roles), (ActorKind::User, [Role::Customer].into_iter().collect::<Roles>()));
}

#[test]
fn tokens_of_the_key_before_and_of_the_key_to_come_are_accepted() {
    let fixture = Fixture::new();
    let (before, _) = fixture.issue(&[Role::Customer]);
    let third = pair();
    fixture.load(&[(&fixture.active, KeyState::Retired), (&fixture.next, KeyState::Active), (&third, KeyState::Next)]);
    let (after, _) = fixture.issue(&[Role::Customer]);
    assert!(fixture.verifier.verify(&before).is_ok());
    assert!(fixture.verifier.verify(&after).is_ok());
    let header = replaced(fixture.header(), "kid", third.kid.clone().into());
    assert!(fixture.verifier.verify(&sign(&third, &header, &claims())).is_ok(), "another instance has rotated first");
}

#[test]
fn a_key_that_is_withdrawn_takes_its_tokens_with_it_also_when_they_are_remembered() {
    let fixture = Fixture::new();
    let (token, _) = fixture.issue(&[Role::Customer]);
    assert!(fixture.verifier.verify(&token).is_ok());
    fixture.load(&[(&fixture.next, KeyState::Active)]);
    assert_eq!(fixture.verifier.verify(&token), Err(TokenFault::BadSignature));
}

#[test]
fn without_recent_news_about_sessions_nothing_is_accepted() {
    let fixture = Fixture::new();
    let (token, _) = fixture.issue(&[Role::Customer]);
    let deaf = Arc::new(Revocations::new(Duration::from_secs(3600)));
    let verifier = TokenVerifier::new(&fixture.issuer, deaf, Arc::clone(&fixture.clock) as Arc<dyn Clock>, 1000);
    assert_eq!(verifier.verify(&token), Err(TokenFault::Unavailable));
}

#[test]
fn a_token_says_nothing_about_the_person_but_id_and_roles() {
    let fixture = Fixture::new();
    let (token, subject) = fixture.issue(&[Role::Customer]);
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("claims")).expect("base64");
    let claims: Value = serde_json::from_slice(&payload).expect("JSON");
    let names = claims.as_object().expect("an object").keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(names, ["aud", "client_id", "exp", "iat", "iss", "jti", "roles", "sid", "sub"]);
    assert_eq!(claims["sub"], format!("usr_{}", subject.user_id));
    assert_eq!(claims["roles"], json!(["CUSTOMER"]));
}
