//! A production with an issuer, for whatever starts it.

use keyfold_standin::issuer::Issuer;
use serde_json::json;

use crate::harness::{Answer, Folder, Production, Server, Start, runtime};

pub(crate) const PUBLIC_URL: &str = "https://keys.example.com";

pub(crate) struct Site {
    pub(crate) production: Production,
    pub(crate) issuer: Issuer,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self { production: Production::new(), issuer: runtime().block_on(Issuer::start()) }
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.production.folder
    }

    /// The issuer and the public address, which no deployment file can know.
    pub(crate) fn signed_in(&self, start: Start) -> Start {
        let start = start.env("KEYFOLD_PUBLIC_URL", PUBLIC_URL);
        self.issuer.settings().iter().fold(start, |start, (name, value)| start.env(name, value))
    }

    /// Everything that production asks for.
    pub(crate) fn serve(&self) -> Start {
        self.signed_in(self.production.keyfold(&["serve"]))
    }

    #[track_caller]
    pub(crate) fn is_in_use(&self, server: &Server, key: &str) {
        assert_eq!(server.get("/readyz").status, 200);
        assert_eq!(server.get("/api/config").body["mode"], "production");
        let token = self.issuer.token_for("user_a");
        let save = server.request("PUT", "/api/keys/gemini").bearer_auth(&token).json(&json!({ "key": key }));
        assert_eq!(Answer::to(save).unwrap().status, 201);
        let use_it =
            server.request("POST", "/api/generate").bearer_auth(&token).json(&json!({ "prompt": "Hello" }));
        let answer = Answer::to(use_it).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(self.folder().standin.requests_for("gemini").last().unwrap().key, key);
    }
}
