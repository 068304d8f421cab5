"""Checks that the files of docker/ agree with one another: what one of them names, another must define.

No container engine is needed. Each check is a function whose docstring is the claim. A failed check prints the claim and
what contradicts it, and the exit code is 1.
"""

import re
import sys
import tomllib
from pathlib import Path

import yaml

DOCKER = Path(__file__).resolve().parent.parent / "docker"

compose = yaml.safe_load((DOCKER / "compose.yml").read_text("utf-8"))
services = compose["services"]
gateway = tomllib.loads((DOCKER / "gateway.toml").read_text("utf-8"))
prometheus = yaml.safe_load((DOCKER / "prometheus.yml").read_text("utf-8"))
alerts = yaml.safe_load((DOCKER / "alerts.yml").read_text("utf-8"))
alerts_test = yaml.safe_load((DOCKER / "alerts_test.yml").read_text("utf-8"))
dockerfile = (DOCKER / "Dockerfile").read_text("utf-8")

rules = [rule for group in alerts["groups"] for rule in group["rules"]]


def port_of(address):
    return int(address.rsplit(":", 1)[1])


def mounts(service):
    """(source, target, mode) of each volume of a service; the mode is `rw` where none is given."""
    for volume in services[service].get("volumes", []):
        source, target, *mode = volume.split(":")
        yield source, target, mode[0] if mode else "rw"


def sources_exist():
    """Every file, build folder, volume and network that compose.yml names is there."""
    for name, service in services.items():
        if build := service.get("build"):
            context = (DOCKER / build["context"]).resolve()
            file = context / build.get("dockerfile", "Dockerfile")
            if not file.is_file():
                yield f"{name}: no {file}"
        for source, _, _ in mounts(name):
            if source.startswith("."):
                if not (DOCKER / source).exists():
                    yield f"{name}: no file or folder {source}"
            elif source not in compose["volumes"]:
                yield f"{name}: no volume {source}"
        for network in service["networks"]:
            if network not in compose["networks"]:
                yield f"{name}: no network {network}"
        for other in service.get("depends_on", []):
            if other not in services:
                yield f"{name}: depends on {other}, which is not there"


def only_loopback_is_published():
    """Ports are published on the loopback address only, and never the gateway's admin listener."""
    admin = port_of(gateway["listen"]["admin"])
    for name, service in services.items():
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name}: {port}"
            if name == "gateway" and port_of(port) == admin:
                yield f"the admin listener: {port}"
    if "ports" in services["django"]:
        yield "django is published beside the gateway"


def addresses_agree():
    """The gateway's listeners and upstreams, its image's health check and Prometheus's target name the same ports."""
    listen = gateway["listen"]
    published = {port_of(port) for port in services["gateway"]["ports"]}
    if published != {port_of(address) for address in listen["http"]}:
        yield f"published {published}, listening on {listen['http']}"
    admin = port_of(listen["admin"])
    if f'"127.0.0.1:{admin}"' not in dockerfile:
        yield f"the health check does not ask the admin port {admin}"
    targets = prometheus["scrape_configs"][0]["static_configs"][0]["targets"]
    if targets != [f"gateway:{admin}"]:
        yield f"Prometheus scrapes {targets}"
    for upstream in gateway["upstream"]:
        for server in upstream["servers"]:
            host, port = server.rsplit(":", 1)
            if host not in services:
                yield f"upstream {server}: no such service"
                continue
            image = (DOCKER / services[host]["build"]["context"] / "Dockerfile").read_text("utf-8")
            if f"EXPOSE {port}\n" not in image:
                yield f"upstream {server}: its image does not expose {port}"
            if not set(services[host]["networks"]) & set(services["gateway"]["networks"]):
                yield f"upstream {server}: no network in common"


def paths_agree():
    """The gateway finds its configuration, its writable state and the service's database, which it cannot write."""
    mounted = {target: (source, mode) for source, target, mode in mounts("gateway")}
    config = re.search(r'"--config", "([^"]+)"', dockerfile).group(1)
    if mounted.get(config) != ("./gateway.toml", "ro"):
        yield f"{config} is not ./gateway.toml, read only"
    state = str(Path(gateway["store"]["path"]).parent)
    if mounted.get(state, ("", ""))[1] != "rw":
        yield f"{state} is not a writable volume"
    for directory in gateway["directory"]:
        database = directory["database"].removeprefix("sqlite://")
        source, mode = mounted.get(str(Path(database).parent), ("", ""))
        if mode != "ro":
            yield f"{database} is not on a volume that is mounted read only"
        if source not in {volume for volume, _, _ in mounts("django")}:
            yield f"{database} is not on a volume of the service"


def containers_are_confined():
    """No container has capabilities or can gain privileges, and the images built here do not run as root."""
    for name, service in services.items():
        if service.get("cap_drop") != ["ALL"]:
            yield f"{name} keeps capabilities"
        if "no-new-privileges:true" not in service.get("security_opt", []):
            yield f"{name} can gain privileges"
        if build := service.get("build"):
            file = DOCKER / build["context"] / build.get("dockerfile", "Dockerfile")
            user = re.findall(r"^USER (\S+)", file.read_text("utf-8"), re.MULTILINE)
            if not user or user[-1].split(":")[0] in ("0", "root"):
                yield f"{name} runs as root"
    if services["gateway"].get("read_only") is not True:
        yield "the gateway can write to its own image"


def alerts_are_complete():
    """Every alert says how bad it is, what it means and what to do, and is tested both firing and silent."""
    checks = [check for test in alerts_test["tests"] for check in test["alert_rule_test"]]
    for rule in rules:
        name = rule["alert"]
        if rule["labels"].get("severity") not in ("warning", "critical"):
            yield f"{name}: severity"
        for text in ("summary", "description", "runbook"):
            if not rule["annotations"].get(text):
                yield f"{name}: no {text}"
        outcomes = {bool(check.get("exp_alerts")) for check in checks if check["alertname"] == name}
        if outcomes != {True, False}:
            yield f"{name}: not tested both ways"


def detectors_have_alerts():
    """Every detector that gateway.toml documents has an alert of its own, and no alert names another one."""
    documented = DOCKER.parent / "gateway.toml"
    if not documented.is_file():
        yield f"no {documented}"
        return
    detect = tomllib.loads(documented.read_text("utf-8")).get("detect", {})
    known = {name for name, settings in detect.items() if isinstance(settings, dict)}
    alerted = {name for rule in rules for name in re.findall(r'detector="([^"]+)"', rule["expr"])}
    if known != alerted:
        yield f"gateway.toml has {sorted(known)}, the alerts have {sorted(alerted)}"


CHECKS = [
    sources_exist,
    only_loopback_is_published,
    addresses_agree,
    paths_agree,
    containers_are_confined,
    alerts_are_complete,
    detectors_have_alerts,
]


def main():
    failed = 0
    for check in CHECKS:
        problems = list(check())
        failed += bool(problems)
        print(f"{'FAIL' if problems else 'ok  '} {check.__doc__}")
        for problem in problems:
            print(f"     {problem}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
