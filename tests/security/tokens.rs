//! Which tokens open the door.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use vostro::client::Connection;

use crate::support::people::connect;
use crate::support::{Person, World};

async fn refusal_with(world: &World, token: Option<&str>) -> Option<String> {
    let mut connection = match token {
        Some(token) => connect(world.config.http.address, token).await,
        None => Connection::open(world.config.http.address).await.expect("the bank listens"),
    };
    let answer = connection.answer("{ unreadCount }", json!({})).await.expect("an answer");
    answer["errors"][0]["extensions"]["code"].as_str().map(str::to_owned)
}

fn with_part(token: &str, index: usize, change: impl FnOnce(&mut Value)) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let bytes = URL_SAFE_NO_PAD.decode(&parts[index]).expect("base64url");
    let mut value = serde_json::from_slice(&bytes).expect("JSON");
    change(&mut value);
    parts[index] = URL_SAFE_NO_PAD.encode(value.to_string());
    parts.join(".")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_unchanged_access_token_of_a_living_session_opens_the_door() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let ada = Person::join(&world, "ada").await;
    assert_eq!(refusal_with(&world, Some(&ada.token)).await, None);
    let refused = Some("UNAUTHENTICATED".to_owned());
    let forged_claims = with_part(&ada.token, 1, |claims| claims["roles"] = json!(["ADMIN"]));
    let without_algorithm = with_part(&ada.token, 0, |header| header["alg"] = json!("none"));
    let other_purpose = with_part(&ada.token, 0, |header| header["typ"] = json!("JWT"));
    for token in [
        None,
        Some("rubbish"),
        Some(ada.refresh_token.as_str()),
        Some(forged_claims.as_str()),
        Some(without_algorithm.as_str()),
        Some(other_purpose.as_str()),
    ] {
        assert_eq!(refusal_with(&world, token).await, refused, "{token:?}");
    }
    let mut connection = ada.connection().await;
    connection.data("mutation { logout { loggedOut } }", json!({})).await.expect("logged out");
    assert_eq!(refusal_with(&world, Some(&ada.token)).await, refused, "after logging out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_is_used_twice_ends_the_session() {
    let world = World::create().await;
    let _bank = world.open_bank().await;
    let ada = Person::join(&world, "ada").await;
    let mut connection = Connection::open(world.config.http.address).await.expect("the bank listens");
    let document = "mutation($input: TokenRefreshInput!) { tokenRefresh(input: $input) { tokens { accessToken } userErrors { code } } }";
    let input = json!({"input": {"refreshToken": ada.refresh_token}});
    let first = connection.data(document, input.clone()).await.expect("an answer");
    let fresh = first["tokenRefresh"]["tokens"]["accessToken"].as_str().expect("a new token").to_owned();
    assert_eq!(refusal_with(&world, Some(&fresh)).await, None);
    let second = connection.data(document, input).await.expect("an answer");
    assert_eq!(second["tokenRefresh"]["userErrors"][0]["code"], "AUTH_TOKEN_REUSED");
    assert_eq!(refusal_with(&world, Some(&fresh)).await, Some("UNAUTHENTICATED".to_owned()));
}
