//! `/` and `/docs`

use crate::support::Local;
use crate::support::production::Production;

/// The values of all `href` and `src` in a page.
fn links(html: &str) -> Vec<&str> {
    let parts = html.split("href=\"").skip(1).chain(html.split("src=\"").skip(1));
    parts.map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn the_pages_come_from_the_binary_alone() {
    let local = Local::start().await;
    for path in ["/", "/docs"] {
        let page = local.get(path).await;
        assert_eq!(page.status, 200);
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
        let policy = page.header("content-security-policy").to_owned();
        for directive in [
            "default-src 'none'",
            "script-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(directive), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{path}: {policy}");
        let links = links(&page.body);
        assert!(links.contains(&"/assets/page.css"), "{path}: {links:?}");
        for link in links {
            if link.starts_with('#') || link.starts_with("data:") {
                continue;
            }
            assert!(link.starts_with('/') && !link.starts_with("//"), "{path} leads to {link}");
            assert_eq!(local.get(link).await.status, 200, "{path} leads to {link}");
        }
        // What the policy would not run, or what it could not stop.
        for wrong in ["<script>", "<style", " style=\"", " onclick=", " onload=", "javascript:", "<iframe"] {
            assert!(!page.body.contains(wrong), "{path} has {wrong}");
        }
    }
}

#[tokio::test]
async fn assets_are_what_they_say() {
    let local = Local::start().await;
    for (path, kind) in [
        ("/assets/page.css", "text/css"),
        ("/assets/overview.js", "text/javascript"),
        ("/assets/docs.js", "text/javascript"),
    ] {
        let asset = local.get(path).await;
        assert_eq!(asset.status, 200);
        assert!(asset.header("content-type").starts_with(kind), "{path}");
        assert_eq!(asset.header("x-content-type-options"), "nosniff");
        assert!(!asset.body.is_empty());
    }
}

#[tokio::test]
async fn the_pages_are_public_in_production_too_and_know_of_no_keys() {
    let production = Production::start().await;
    let key = production.as_user("user_a").has_example_key("gemini", 1).await;
    for path in ["/", "/docs", "/openapi.json", "/assets/page.css", "/assets/overview.js", "/assets/docs.js"]
    {
        let answer = production.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.contains(&key) && !answer.body.contains("user_a"), "{path}");
    }
}
