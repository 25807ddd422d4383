//! To copy: a fairing that takes back what Rocket does to the methods of forms.

use rocket::fairing::{Fairing, Info, Kind};
use rocket::http::Method;
use rocket::{Data, Request, async_trait};

/// Before any route is chosen, Rocket turns a POST whose form begins with `_method=put` into a PUT.
/// This makes a POST of it again, for all routes.
pub struct KeepPost;

#[async_trait]
impl Fairing for KeepPost {
    fn info(&self) -> Info {
        Info { name: "POST stays POST", kind: Kind::Request }
    }

    async fn on_request(&self, request: &mut Request<'_>, data: &mut Data<'_>) {
        let is_form = request.content_type().is_some_and(|kind| kind.is_form());
        let start = data.peek("_method=delete".len()).await;
        let first = start.split(|byte| *byte == b'&').find(|pair| !pair.is_empty());
        let named = first.and_then(|pair| pair.strip_prefix(b"_method="));
        let named = named.and_then(|name| std::str::from_utf8(name).ok()?.parse::<Method>().ok());
        if is_form && named == Some(request.method()) {
            request.set_method(Method::Post);
        }
    }
}
