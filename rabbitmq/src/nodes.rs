//! Addresses that name the nodes of a cluster: `amqp://user:password@a:5672,b:5672,c:5672/vhost`.

/// The address as it would be for each node alone, in their order; of an address with one host just itself.
///
/// The list is the one that RabbitMQ's Java and Spring clients know as `addresses`. Nothing is checked here: what is not an
/// address stays one, and its reader says so.
pub(crate) fn each_node(url: &str) -> Vec<String> {
    let place = url.find("://").map_or(0, |scheme| scheme + 3);
    let end = url[place..].find(['/', '?']).map_or(url.len(), |end| place + end);
    let hosts = url[place..end].rfind('@').map_or(place, |user| place + user + 1);
    let (before, after) = (&url[..hosts], &url[end..]);
    url[hosts..end].split(',').map(|host| format!("{before}{}{after}", host.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_is_an_address_as_it_is() {
        for url in ["amqp://u:p@broker:5672/vostro", "amqp://broker", "http://u:p@broker:15672/", "nonsense", ""] {
            assert_eq!(each_node(url), [url]);
        }
    }

    #[test]
    fn each_of_several_hosts_has_the_user_and_the_path() {
        assert_eq!(
            each_node("amqp://u:p,q@a:1,b:2, c:3/v?heartbeat=5"),
            ["amqp://u:p,q@a:1/v?heartbeat=5", "amqp://u:p,q@b:2/v?heartbeat=5", "amqp://u:p,q@c:3/v?heartbeat=5"]
        );
        assert_eq!(each_node("http://a,b:2"), ["http://a", "http://b:2"]);
    }
}
