"""The words of other systems, each with its equivalent here, for keys and types that mean nothing in a playbook.

They come from Airflow, Argo, Ansible, Dagster, GitHub Actions, Kestra, Prefect, Step Functions, Temporal, from Compose
and from clients of HTTP. A word is looked up in lower case with `_` between its parts, so that `runIf`, `run-if` and
`run_if` are one.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

from noetl.playbook.step_types import ROUTER_TYPES, STEP_TYPES, WORKBOOK
from noetl.playbook.suggest import did_you_mean
from noetl.words import ROUTER

_PART: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|-")
_Sentences = Mapping[str, str]
"""Sentences with the words that they answer, which blanks divide."""

_NO_SCHEDULE: Final = "there are no schedules yet: let cron, or another scheduler, call 'noetl execute playbook PATH'"
_RETRY: Final = "write 'retry: {max_attempts: 3, initial_delay: 5s}'"
_SCHEDULE: Final = (
    "schedule schedules cron crontab trigger triggers on every interval schedule_interval start_date catchup sensor"
    " sensors timetable"
)

_DOCUMENT: Final[_Sentences] = {
    "write 'workflow', a list of steps": (
        "tasks jobs stages ops nodes states flow flows pipeline pipelines dag templates activities plays actions"
    ),
    "write 'metadata: {path: ..., name: ...}'": "id namespace dag_id title pipeline_id workflow_id",
    "write 'workload', a mapping of names and defaults": (
        "inputs params parameters variables vars env arguments args config defaults default_args values context globals"
        " default_params environment"
    ),
    _NO_SCHEDULE: _SCHEDULE,
    "write 'result' of the step 'end'": "outputs output returns return results",
    "write 'finally', a workflow of its own that runs last, or 'on_error' of a step": (
        "errors error on_failure on_success on_exit on_error catch after_execution always handlers notify"
        " on_failure_callback on_success_callback notifications teardown"
    ),
    "name a credential in the 'auth' of the steps that need it ('noetl credential add' makes one)": (
        "secrets credentials connections auth resources keychain"
    ),
    "the entry is the step 'start', else the first one": "entrypoint entry start_at start",
    "there is no limit per playbook yet: 'loop: {mode: async, concurrency: 8}' bounds the items of a loop": (
        "concurrency parallelism max_active_runs max_parallel max_concurrency"
    ),
    "write 'retry' on each step that needs it": "retries retry retry_policy retry_strategy",
    "write 'pool'": "queue task_queue work_pool worker_pool runs_on",
    "write 'labels', a mapping": "tags annotations",
    "write it into 'metadata'": "author owner doc documentation",
    "write 'timeout: 1h'": "timeout_seconds timeout_minutes execution_timeout dagrun_timeout active_deadline_seconds",
}
_STEP: Final[_Sentences] = {
    "write 'next: this_step' in the steps before it: a step says where it leads, and one with several sources waits": (
        "depends_on needs upstream dependencies depends dependency deps after requires wait_for upstream_tasks previous"
    ),
    "write 'next', with 'when' and 'then' for conditions": (
        "downstream goto then transitions transition next_step choices switch branches cases case otherwise default"
    ),
    "write 'step: name'": "id task_id step_id key uid uuid",
    "write 'type' with the name of a tool, as 'type: python'": (
        "uses operator action activity plugin kind op component resource function class tool call method_name module"
    ),
    "write 'type: shell' and 'command'": "run script bash bash_command cmd cmds shell_command exec sh",
    "write 'type: python' and 'code' with a 'def main(...)'": "python_callable func callable lambda python",
    "write 'args'": ("inputs arguments parameters op_kwargs op_args parameter kwargs template_fields values"),
    "values for the step stand in 'args', what it gave is there under its name, as {{ step.field }}": "vars variables",
    "nothing is declared: the result is there under the step's name, as {{ step.field }}": (
        "outputs output register result_path output_path returns return publish set_fact xcom_push result_selector"
    ),
    "write the condition as 'when' of the 'next' that leads to the step": (
        "if run_if only_if unless skip skip_if enabled condition conditions trigger_rule when"
    ),
    "give values by 'args' and secrets by secret('env:NAME'): variables ('env') are of types shell and container": (
        "env environment env_vars"
    ),
    "there are no files beside a playbook yet: write the text itself as 'code' (python) or 'command'": (
        "file filename script_file source script_path code_file sql_file working_directory"
    ),
    "write 'payload', which a mapping makes JSON": "body json form request_body json_body content",
    "write 'params', a mapping": "query query_params querystring query_string qs search_params",
    "write 'endpoint'": "uri host base_url",
    "write 'method'": "verb http_method request_method",
    "write 'auth'": "token bearer_token api_key authorization authentication connection conn_id connection_id dsn",
    _RETRY: (
        "retries max_retries attempts max_attempts retry_strategy retry_policy retry_delay retry_interval backoff"
        " retry_exponential_backoff max_retry_delay delay_between_retries"
    ),
    "write 'timeout: 10m'": (
        "timeout_minutes timeout_seconds execution_timeout active_deadline_seconds start_to_close_timeout"
        " task_timeout heartbeat_seconds deadline"
    ),
    "write 'on_error: continue'": "continue_on_error ignore_errors ignore_error allow_failure allow_failed soft_fail",
    "write 'on_error: name_of_a_step'": (
        "catch rescue errors on_failure on_failure_callback except error_handler fallback failure handler"
    ),
    "write it into 'finally' of the playbook, a workflow that runs last": "always ensure on_exit teardown cleanup",
    "write 'loop: {in: \"{{ items }}\", iterator: item}'": (
        "for_each foreach with_items items each map matrix strategy with_param with_sequence expand iterate for"
    ),
    "write 'loop: {mode: async, concurrency: 8}'": "concurrency parallelism max_parallel max_concurrency parallel",
    "write 'pool'": "queue task_queue work_pool runs_on worker_group agent pool_name",
    "write 'desc'": "documentation doc title label notes note summary comment doc_md",
    _NO_SCHEDULE: _SCHEDULE,
    "write 'type: wait' and 'for: 10m'": "delay sleep wait pause wait_seconds",
    "write secret('name') where the value is needed": "secrets secret",
    "there is no cache of results yet: leave it out": "cache cache_key caching memoize cache_policy",
    "write 'type: container' and 'image'": "container docker image_pull_policy task_runner",
    "write it as a step of its own, and 'next' to lead to it": "tasks steps do block parallel_steps",
}
_RETRY_WORDS: Final[_Sentences] = {
    "write 'max_attempts', which counts the first one": (
        "retries attempts max count maximum_attempts limit max_retries times tries"
    ),
    "write 'initial_delay'": "delay interval retry_delay initial_interval wait period interval_seconds seconds",
    "write 'backoff: 2'": "backoff_coefficient multiplier factor exponential backoff_rate type policy",
    "write 'max_delay: 60s'": "maximum_interval max_interval cap max_delay_seconds max_backoff",
    "write 'when: \"{{ error.type == ... }}\"'": (
        "on retry_on conditions condition errors non_retryable_error_types expression error_equals if"
    ),
}
_LOOP: Final[_Sentences] = {
    "write 'in'": "items over list values for_each each range foreach iterable source items_path",
    "write 'iterator'": "as item var variable loop_var name item_name element_name",
    "write 'mode: async' and 'concurrency'": (
        "parallel max_parallel parallelism max_concurrency limit_parallel workers concurrent concurrency_limit"
    ),
    "write 'where: \"{{ condition }}\"'": "if when condition select",
    "write 'order_by'": "sort sort_by order",
    "write 'batch'": "chunk_size batch_size size chunks",
    "write 'on_error: continue'": "continue_on_error ignore_errors allow_failure",
    "write 'limit'": "max max_items count take",
    "write 'retry: {until: \"{{ condition }}\"}', or 'next' of the step to itself": "until while",
}
_CLAUSE: Final[_Sentences] = {
    "write 'when: \"{{ condition }}\"'": "if case expr expression on only_if condition",
    "write 'step'": "goto to target next name then_step state task",
    "write 'else'": "otherwise default",
    "write 'then'": "do steps",
}
_SAVE: Final[_Sentences] = {
    "write 'storage' and 'table'": "to target destination into sink database_table collection",
    "write 'data'": "columns values rows row record records fields body payload",
    "write 'key'": "on_conflict unique primary_key unique_key conflict keys id",
    "write 'auth'": "connection dsn conn_id url",
    "write 'path'": "file filename bucket uri location",
    "write 'statement'": "sql query command",
}


def _by_word(sentences: _Sentences) -> Mapping[str, str]:
    return {word: sentence for sentence, words in sentences.items() for word in words.split()}


_PLACES: Final[Mapping[str, Mapping[str, str]]] = {
    "document": _by_word(_DOCUMENT),
    "step": _by_word(_STEP),
    "retry": _by_word(_RETRY_WORDS),
    "loop": _by_word(_LOOP),
    "clause": _by_word(_CLAUSE),
    "save": _by_word(_SAVE),
}
_TYPES: Final[Mapping[str, str]] = _by_word(
    {
        "write 'shell'": "bash sh ssh cmd command exec script bash_operator powershell",
        "write 'python'": "function lambda py python_operator code",
        "write 'postgres'": "sql psql pg postgresql database query",
        "write 'container'": "docker kubernetes k8s pod job image kubernetes_pod",
        "write 'wait'": "sleep delay timer pause sensor time_delay",
        "write 'http'": "request rest api webhook curl get post fetch requests",
        "write 'playbook'": "subflow workflow subworkflow child dag sub_workflow call flow",
        "write 'fail'": "error raise abort throw",
        "write 'save'": "store sink insert write upload",
        "leave it out: the conditions stand in 'next', as {when: ..., then: ...}": (
            "branch if switch choice condition router decision gateway"
        ),
        "leave it out: 'next: [a, b]' begins both at the same time": "parallel fork join fan_out",
        "write 'loop' on the step that runs per item": "for_each foreach map each while",
        "fetch with one step and store with 'save'": "transfer copy",
    }
)


def meant(word: str, known: Collection[str], place: str = "") -> str:
    """Return the end of the sentence about a key that means nothing: what to write, or the keys that there are.

    `place` is where it stands: document, step, retry, loop, clause, save, or empty where no system has other words.

    >>> meant("runIf", {"step", "next"}, "step")
    ": write the condition as 'when' of the 'next' that leads to the step"
    """
    said = _PLACES[place].get(_lowered(word)) if place else None
    if said:
        return f": {said}"
    near = did_you_mean(word, known)
    if near:
        return near
    listed = f": the keys are {', '.join(sorted(known))}"
    types = [name for name, type_ in STEP_TYPES.items() if word in type_.fields] if place == "step" else []
    return f": it is a field of type {' and '.join(types)}{listed.replace(':', ',', 1)}" if types else listed


def unknown_type(name: str) -> str:
    """Return the sentence for an unknown type of step."""
    said = _TYPES.get(_lowered(name))
    known = sorted(({*STEP_TYPES, WORKBOOK} - {ROUTER}) | ROUTER_TYPES)
    hint = f": {said}" if said else did_you_mean(name, known) or ": the types are " + ", ".join(known)
    return f"unknown type {name!r}{hint}"


def _lowered(word: str) -> str:
    return _PART.sub("_", word).lower()
