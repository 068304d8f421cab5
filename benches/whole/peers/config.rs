//! Configures each peer: to pass requests on, or to let the bearer of a valid token through and forward who it is.

use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::service::KEY;

/// The parts of a configuration.
pub(super) struct Settings<'a> {
    pub(super) upstream: SocketAddr,
    pub(super) address: SocketAddr,
    pub(super) threads: usize,
    pub(super) folder: &'a Path,
}

/// A peer: another gateway to compare with.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) does: &'static str,
    pub(super) program: &'static str,
    pub(super) file: &'static str,
    pub(super) config: fn(&Settings<'_>) -> String,
    pub(super) arguments: fn(&Settings<'_>, &Path) -> Vec<String>,
}

pub(super) const ALL: [Peer; 4] = [
    Peer {
        name: "nginx, pass",
        does: "passes on",
        program: "nginx",
        file: "nginx.conf",
        config: |settings| nginx(settings, "", ""),
        arguments: nginx_arguments,
    },
    Peer {
        name: "nginx, Lua",
        does: "signature (verdict remembered), expiry; one header; no user, no revocation",
        program: "nginx",
        file: "nginx.conf",
        config: |settings| nginx(settings, LUA_HEAD, LUA),
        arguments: nginx_arguments,
    },
    Peer {
        name: "HAProxy, jwt_verify",
        does: "signature and expiry, each time; one header; no user, no revocation",
        program: "haproxy",
        file: "haproxy.cfg",
        config: haproxy,
        arguments: |_, file| vec!["-f".into(), text(file)],
    },
    Peer {
        name: "Envoy, jwt_authn",
        does: "signature (token cache), expiry; one header; no user, no revocation",
        program: "envoy",
        file: "envoy.yaml",
        config: envoy,
        arguments: |settings, file| {
            let threads = settings.threads.to_string();
            ["-c", &text(file), "--concurrency", &threads, "--log-level", "error"]
                .map(Into::into)
                .into_iter()
                .chain(["--use-dynamic-base-id".into()])
                .collect()
        },
    },
];

fn text(path: &Path) -> String {
    path.to_str().unwrap().into()
}

fn nginx_arguments(settings: &Settings<'_>, file: &Path) -> Vec<String> {
    ["-p", &text(settings.folder), "-c", &text(file), "-e", &text(&settings.folder.join("log"))]
        .map(Into::into)
        .into()
}

fn nginx(settings: &Settings<'_>, head: &str, access: &str) -> String {
    let Settings { upstream, address, threads, folder } = settings;
    let folder = folder.display();
    let modules = match head {
        "" => "",
        _ => {
            "load_module /usr/lib/nginx/modules/ndk_http_module.so;\n\
             load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;\n"
        }
    };
    format!(
        "{modules}daemon off;
user root;
worker_processes {threads};
pid {folder}/pid;
error_log {folder}/log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    {head}
    upstream app {{ server {upstream}; keepalive 64; keepalive_requests 10000000; }}
    server {{
        listen {address} reuseport;
        keepalive_requests 10000000;
        location / {{
            {access}
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
",
    )
    .replace("@KEY@", KEY)
}

/// The script uses nginx's OpenSSL; the verdicts are in memory that nginx's workers share.
const LUA_HEAD: &str = r#"
    lua_shared_dict verdicts 16m;
    init_by_lua_block {
        local ffi = require "ffi"
        ffi.cdef[[
            const void *EVP_sha256(void);
            unsigned char *HMAC(const void *md, const void *key, int key_len,
                const unsigned char *d, size_t n, unsigned char *out, unsigned int *len);
        ]]
        local cjson_like = function(text, name) return text:match('"' .. name .. '": ?"?([^",}]+)') end
        local out, len = ffi.new("unsigned char[64]"), ffi.new("unsigned int[1]")
        local function decode(part)
            return ngx.decode_base64((part:gsub("-", "+"):gsub("_", "/")) .. ("==="):sub(1, -#part % 4))
        end
        function verdict(token)
            local signed, head, payload, mac = token:match("^(([^.]+)%.([^.]+))%.([^.]+)$")
            if not signed then return nil end
            if cjson_like(decode(head) or "", "alg") ~= "HS256" then return nil end
            ffi.C.HMAC(ffi.C.EVP_sha256(), "@KEY@", #"@KEY@", signed, #signed, out, len)
            if ffi.string(out, len[0]) ~= decode(mac) then return nil end
            local claims = decode(payload) or ""
            return cjson_like(claims, "user_id"), tonumber(cjson_like(claims, "exp"))
        end
    }
"#;

const LUA: &str = r#"
            set $user "";
            access_by_lua_block {
                local token = (ngx.var.http_authorization or ""):match("^Bearer (.+)$")
                if not token then return ngx.exit(401) end
                local verdicts = ngx.shared.verdicts
                local user, exp = verdicts:get(token), nil
                if not user then
                    user, exp = verdict(token)
                    if not user or not exp or exp <= ngx.time() then return ngx.exit(401) end
                    verdicts:set(token, user, exp - ngx.time())
                end
                ngx.var.user = user
            }
            proxy_set_header X-User-Id $user;
"#;

fn haproxy(settings: &Settings<'_>) -> String {
    let Settings { upstream, address, threads, .. } = settings;
    format!(
        "global
    nbthread {threads}
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
    http-reuse always
frontend clients
    bind {address}
    http-request set-var(txn.bearer) http_auth_bearer
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_header_query('$.alg') -m str HS256 }}
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(\"HS256\",\"{KEY}\") 1 }}
    http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 1 }}
    http-request set-header X-User-Id %[var(txn.bearer),jwt_payload_query('$.user_id')]
    http-request set-header X-Forwarded-For %[src]
    default_backend app
backend app
    server app {upstream}
"
    )
}

fn envoy(settings: &Settings<'_>) -> String {
    let Settings { upstream, address, .. } = settings;
    let key = BASE64_URL_SAFE_NO_PAD.encode(KEY);
    format!(
        r#"
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          route_config:
            virtual_hosts:
            - name: app
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                route: {{ cluster: app }}
          http_filters:
          - name: envoy.filters.http.jwt_authn
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                service:
                  local_jwks:
                    inline_string: '{{"keys":[{{"kty":"oct","alg":"HS256","k":"{key}"}}]}}'
                  forward: true
                  claim_to_headers:
                  - {{ header_name: x-user-id, claim_name: user_id }}
                  jwt_cache_config: {{ jwt_cache_size: 10000 }}
              rules:
              - match: {{ prefix: "/" }}
                requires: {{ provider_name: service }}
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: app
    type: STATIC
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {upstream} }} }} }}
"#,
        port = address.port(),
        upstream = upstream.port(),
    )
}
