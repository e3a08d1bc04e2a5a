//! Tokens that were verified before.

use std::sync::Arc;

use keyfold::auth::TokenRefusal;

use crate::setup::{Setup, good, token_of};
use keyfold_standin::issuer::RSA;

#[tokio::test]
async fn a_remembered_token_is_still_held_against_the_clock() {
    let setup = Setup::clerk(&[&RSA]).await;
    let token = good();
    for _ in 0..3 {
        assert_eq!(setup.user(&token).await, "user_2abc");
    }
    assert_eq!(setup.verifier.remembered_tokens(), 1);
    setup.advance(64);
    assert_eq!(setup.user(&token).await, "user_2abc");
    setup.advance(1);
    assert_eq!(setup.refusal(&token).await, TokenRefusal::Expired);
    assert_eq!(setup.verifier.remembered_tokens(), 0);
    assert_eq!(setup.refusal(&token).await, TokenRefusal::Expired);
    // Set back to before `nbf` (and so the issuer is asked again).
    setup.advance(-65);
    assert_eq!(setup.user(&token).await, "user_2abc");
    setup.advance(-16);
    assert_eq!(setup.refusal(&token).await, TokenRefusal::NotYetValid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn remembered_tokens_are_never_mixed_up() {
    let setup = Arc::new(Setup::clerk(&[&RSA]).await);
    // Long equal beginnings and ends of the claims.
    let tokens: Arc<Vec<(String, String)>> = Arc::new(
        (0..200)
            .map(|number| format!("user_{}{number:04}", "x".repeat(200)))
            .map(|user| (token_of(&user), user))
            .collect(),
    );
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (setup, tokens) = (Arc::clone(&setup), Arc::clone(&tokens));
            tokio::spawn(async move {
                for step in 0..2000 {
                    let (token, user) = &tokens[(task * 37 + step * 7) % tokens.len()];
                    assert_eq!(&setup.user(token).await, user);
                    if step % 10 == 0 {
                        // Another one's claims under this one's signature.
                        let (other, _) = &tokens[(task * 37 + step * 7 + 1) % tokens.len()];
                        let (claims, _) = other.rsplit_once('.').unwrap();
                        let (_, signature) = token.rsplit_once('.').unwrap();
                        let mixed = setup.refusal(&format!("{claims}.{signature}")).await;
                        assert_eq!(mixed, TokenRefusal::Signature);
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(setup.verifier.remembered_tokens(), tokens.len());
    assert_eq!(setup.asked(), 1);
}
