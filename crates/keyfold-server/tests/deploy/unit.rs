//! The unit's command with the unit's environment, as another user, where only the state directory can be written.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use crate::files::unit;
use crate::harness::{Folder, NOBODY, gemini};
use crate::site::Site;

#[test]
fn its_command_starts_with_its_environment_and_credentials() {
    let (mut site, unit) = (Site::new(), unit());
    site.production.folder = Folder::of_an_ordinary_user();
    let folder = site.folder();
    let (state, credentials) = (folder.path("state"), folder.path("credentials"));
    fs::create_dir_all(state.join("keyfold")).unwrap();
    folder.write("credentials/master-key", &format!("{}\n", site.production.master_key));
    folder.write("credentials/database-url", &format!("{}\n", site.production.database_url()));
    assert_eq!(unit.credentials, ["master-key", "database-url"]);
    let own = |path: &std::path::Path, mode| {
        if fs::metadata(path).unwrap().uid() == 0 {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    own(&state.join("keyfold"), 0o700);
    for name in &unit.credentials {
        own(&credentials.join(name), 0o400);
    }
    own(&credentials, 0o500);
    own(&folder.root, 0o555);

    let (program, arguments) = unit.command.split_first().unwrap();
    assert_eq!(program, "/usr/local/bin/keyfold");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut start = site.signed_in(folder.keyfold(&arguments)).in_dir(&state.join("keyfold"));
    for (name, value) in &unit.variables {
        let value = value.replace("%S", &state.display().to_string());
        let value = value.replace("%d", &credentials.display().to_string());
        assert!(!value.contains('%'), "{name}={value}");
        start = start.env(name, &value);
    }
    let server = start.serve();
    assert_eq!(server.address.ip().to_string(), "127.0.0.1");
    site.is_in_use(&server, &gemini(1));
    assert!(!server.log().contains("strict"), "{}", server.log());
    let done = server.stop();
    done.does_not_tell(&site.production.master_key);
    own(&site.folder().root, 0o755);
}
