"""Measure what rendering one template costs: microseconds, the best of several rounds."""

import timeit
from functools import partial
from typing import Any, Final

from noetl.playbook.templates.result_views import result_view
from noetl.playbook.templates.template import compile_template

ROUNDS: Final = 5
RENDERS: Final = 2000

SCOPE: Final[dict[str, Any]] = {
    "workload": {"base_url": "http://127.0.0.1", "threshold": 12, "names": [f"name{n}" for n in range(20)]},
    "fetch": result_view({"data": {"items": [{"id": n, "price": n * 1.5} for n in range(20)], "next": 2}}),
    "city": {"name": "London", "lat": 51.51, "lon": -0.13},
}

TEMPLATES: Final[dict[str, Any]] = {
    "path": "{{ workload.threshold }}",
    "result": "{{ fetch.data.next }}",
    "text": "{{ workload.base_url }}/forecast/{{ city.name }}",
    "condition": "{{ fetch.data.next and fetch.data.next > 1 and city.name != 'Paris' }}",
    "filter": "{{ workload.names | join(',') | upper }}",
    "sum": "{{ fetch.data['items'] | map(attribute='price') | sum }}",
    "mapping": {"latitude": "{{ city.lat }}", "longitude": "{{ city.lon }}", "days": 3, "name": "{{ city.name }}"},
}


def template_costs() -> dict[str, Any]:
    """Return `{template_us_*: microseconds}` for templates of several kinds, compiled once and rendered often."""
    found = {}
    for name, text in TEMPLATES.items():
        template = compile_template(text, playbook="bench", step="bench", field=name)
        template.render(SCOPE)
        seconds = min(timeit.repeat(partial(template.render, SCOPE), number=RENDERS, repeat=ROUNDS))
        found[f"template_us_{name}"] = round(seconds / RENDERS * 1e6, 2)
    return found
