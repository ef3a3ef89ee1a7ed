"""Options of ``bakery`` may stand after the command as well."""

_FLAGS = {"--local", "--sandbox", "--debug"}
_WITH_VALUE = {"--region", "--profile", "--recipes", "--objects"}


def hoisted(arguments: list[str]) -> list[str]:
    """The same arguments with the common options before the command; all after ``--`` stays."""
    common: list[str] = []
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            rest += [word, *waiting]
            break
        if word in _FLAGS or word.partition("=")[0] in _WITH_VALUE:
            common.append(word)
            if word in _WITH_VALUE and waiting:
                common.append(waiting.pop(0))
        else:
            rest.append(word)
    return common + rest
