"""What an operation answers when it cannot do what was asked."""


class InputFault(Exception):
    """The request asks for something that the model cannot do. `param`: which field of the request is at fault."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class ModelFault(Exception):
    """The model cannot be used; `code` says why, for programs."""

    def __init__(self, message: str, code: str = "model_unusable") -> None:
        super().__init__(message)
        self.code = code
