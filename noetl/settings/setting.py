"""A setting: one field of `Settings` with its environment variables, its parser and its default."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Generic, TypeVar, overload

from noetl.errors import SettingsError

Value = TypeVar("Value")


class _Required(Enum):
    """The default of a setting that has none."""

    REQUIRED = auto()


REQUIRED = _Required.REQUIRED


@dataclass(frozen=True, slots=True)
class WrongValue:
    """A value that could not be parsed, as it is kept until somebody reads it."""

    problem: str


class Setting(Generic[Value]):
    """A descriptor that gives the value of a field. Reading a wrong one raises `SettingsError` with its problem."""

    def __init__(
        self,
        variables: str,
        parse: Callable[[str, str], Value],
        default: Value | _Required = REQUIRED,
        *,
        empty_is_a_value: bool = False,
    ) -> None:
        self.variables = tuple(variables.split())
        """The names of its environment variables; the first one that is set counts."""
        self._parse = parse
        self._default = default
        self._empty_is_a_value = empty_is_a_value
        self._field = ""

    def __set_name__(self, _owner: type, name: str) -> None:
        self._field = name

    @overload
    def __get__(self, settings: None, _owner: type) -> Value: ...
    @overload
    def __get__(self, settings: object, _owner: type) -> Value: ...
    def __get__(self, settings: object | None, _owner: type) -> Value:
        if settings is None:  # `dataclass` asks for the default of its field; AttributeError says that there is none
            if isinstance(self._default, _Required):
                raise AttributeError(self._field)
            return self._default
        value: Value | WrongValue = vars(settings)[self._field]
        if isinstance(value, WrongValue):
            raise SettingsError(value.problem)
        return value

    def __set__(self, settings: object, value: Value | WrongValue) -> None:
        vars(settings)[self._field] = value

    def read(self, environment: Mapping[str, str], flag: object = None) -> Value | WrongValue | None:
        """Return the value of a flag, else that of the first variable that is set, else None."""
        if flag is not None:
            name = f"--{self._field.replace('_', '-')}"
            text = ",".join(flag) if isinstance(flag, tuple | list) else str(flag)
        else:
            name = next((each for each in self.variables if self._is_set(environment.get(each))), "")
            text = environment.get(name, "")
        try:
            return self._parse(name, text) if name else None
        except SettingsError as error:
            return WrongValue(str(error))

    def _is_set(self, text: str | None) -> bool:
        return bool(text) or (text == "" and self._empty_is_a_value)


def table_of(owner: type) -> dict[str, Setting[Any]]:
    """Return the settings of a class by their fields."""
    return {name: setting for name, setting in vars(owner).items() if isinstance(setting, Setting)}
