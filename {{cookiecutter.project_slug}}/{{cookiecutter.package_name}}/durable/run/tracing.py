"""A task's functions of one batch as graphs: whether they fit, and which variables they use."""

import re
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import tensorflow as tf

from ..checkpoint.graph import ObjectGraph
from ..checkpoint.naming import variable_paths
from ..checkpoint.structure import fixed_tables
from ..compat import variables_of
from ..data.protocol import describe_spec
from ..errors import ConfigurationError
from .experiment import Batch, Task
from .replicas import WholeVariables, deal

# What a traced step, loss or metric raises where models, labels and metrics do not go together.
TRACING_ERRORS = (
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
    tf.errors.OpError,
)

# Whose first input chooses among the functions that are given the others.
CONDITIONS = {"If", "StatelessIf", "Case", "StatelessCase"}


def trace(task: Task, function: Any, element_spec: Any) -> tf.types.experimental.ConcreteFunction:
    """Traces a function of one batch, without running it.

    Raises:
        ConfigurationError: shapes or types do not go together.
    """
    try:
        return function.get_concrete_function(element_spec)
    except ConfigurationError:
        raise
    except TRACING_ERRORS as error:
        raise ConfigurationError(
            f"{type(task).__name__} cannot learn from batches of {describe_spec(element_spec)}: "
            f"{reason_of(error)} Let models, labels, loss and metrics fit together; --debug tells "
            "where they do not."
        ) from error


def reason_of(error: Exception) -> str:
    """What an error in traced code says, in one line, without the way to it."""
    text = re.sub(r"\x1b\[\d+m", "", str(error))  # Keras prints in bold
    text = text.rpartition("Arguments received by")[0] or text
    # TensorFlow puts the lines of code before the error itself.
    found = re.search(r"^ *(\w+(?:Error|Exception): .*)", text, re.MULTILINE | re.DOTALL)
    reason = found[1] if found else f"{type(error).__name__}: {text}"
    return " ".join(reason.split())[:300].removesuffix(".") + "."


def untracked_variables(
    task: Task, element_spec: Any, strategy: tf.distribute.Strategy
) -> dict[str, tf.Variable]:
    """The variables that a training step uses and `tf.train.Checkpoint` would leave out, by name.

    The step is traced, not run: its graph captures each variable, generator and table it touches.

    Raises:
        ConfigurationError: it uses state that is not in a variable.
    """

    @tf.function
    def step(batch: Batch) -> None:
        task.phased(strategy.run)(task.step, args=(deal(strategy, batch),))

    with strategy.scope():
        traced = trace(task, step, element_spec)
    refuse_hidden_randomness(task, traced)
    owners = {**task.models, **task.optimizers}
    known = {id(found) for found in ObjectGraph(tf.train.Checkpoint(**owners)).variables.values()}
    known.add(id(task.steps_trained))
    paths = variable_paths(owners)
    owned = [variable for owner in owners.values() for variable in variables_of(owner)]
    untracked: dict[str, tf.Variable] = {}
    generators = count()
    for variable in [*in_order_of_use(task, traced, strategy), *owned]:
        if id(variable) not in known:
            known.add(id(variable))
            path, _ = paths.get(id(variable)) or (nameless_path(variable, generators), "run")
            same = sum(name.partition("#")[0] == path for name in untracked)
            untracked[f"{path}#{same}" if same else path] = variable
    return untracked


def nameless_path(variable: tf.Variable, generators: "count[int]") -> str:
    """A name for a variable that belongs to no layer."""
    name = variable.name.partition(":")[0]
    # What TensorFlow calls the state of each generator; Keras 2 puts the layer before it.
    is_generator = name.rpartition("/")[2] == "StateVar"
    return f"generator_{next(generators)}" if is_generator else name


def in_order_of_use(
    task: Task,
    traced: tf.types.experimental.ConcreteFunction,
    strategy: tf.distribute.Strategy,
) -> list[tf.Variable]:
    """The variables that a traced step uses, in the order in which it first does."""
    made = strategy.variables if isinstance(strategy, WholeVariables) else []
    by_handle = {
        id(part.handle): whole
        for whole in [*traced.variables, *made]
        for part in strategy.experimental_local_results(whole)  # its values, one on each replica
    }
    fixed = {id(table.resource_handle) for table in fixed_tables(task.models.values())}
    given = traced.inputs[len(traced.inputs) - len(traced.captured_inputs) :]
    resources = {
        id(tensor): inside
        for tensor, inside in zip(traced.captured_inputs, given, strict=True)
        if tensor.dtype == tf.resource and id(tensor) not in fixed
    }
    unknown = [inside for key, inside in resources.items() if key not in by_handle]
    if not all(map(is_order_of_messages, unknown)):
        raise ConfigurationError(
            f"{names_of_models(task)} keeps state outside of variables (a lookup table, say), "
            "which a checkpoint of its variables would lose. Move that part into the data, or make "
            "it a tf.lookup.StaticHashTable that is an attribute of its layer."
        )
    found = [by_handle[key] for key in resources if key in by_handle]
    return list({id(variable): variable for variable in found}.values())  # each replica has one


def is_order_of_messages(resource: tf.Tensor) -> bool:
    """Whether a resource is there only to keep the messages between replicas in their order."""
    library = {one.signature.name: one for one in resource.graph.as_graph_def().library.function}
    uses = [
        use
        for operation in resource.consumers()
        for place, given in enumerate(operation.inputs)
        if given is resource
        for use in uses_in(operation.node_def, place, library)
    ]
    return bool(uses) and all(use.startswith("Collective") for use in uses)


def uses_in(node: Any, place: int, library: Mapping[str, Any]) -> Iterator[str]:
    """The types of the operations that use an input of a node, inside of the functions it calls.

    Args:
        node: a NodeDef.
        place: which input.
        library: the functions, FunctionDef, by name.
    """
    called = [library[attr.func.name] for attr in node.attr.values() if attr.func.name in library]
    if not called:
        yield node.op
    first = 1 if node.op in CONDITIONS else 0
    for function in called:
        name = function.signature.input_arg[place - first].name
        for inner in function.node_def:
            for inner_place, given in enumerate(inner.input):
                if given == name:
                    yield from uses_in(inner, inner_place, library)


def refuse_hidden_randomness(task: Task, traced: tf.types.experimental.ConcreteFunction) -> None:
    """Raises ConfigurationError if a random operation keeps its state out of reach."""
    graph = traced.graph.as_graph_def()
    functions = graph.library.function
    nodes = [*graph.node, *(node for function in functions for node in function.node_def)]
    for node in nodes:
        # Only the random operations that keep their own counter have this attribute; recurrent
        # layers bring one for GPUs that draws nothing where there is no dropout.
        if "seed2" in node.attr and not ("dropout" in node.attr and node.attr["dropout"].f == 0):
            raise ConfigurationError(
                f"{names_of_models(task)} draws random numbers by {node.op} ({node.name}), whose "
                "state no checkpoint can hold. Use tf.random.Generator or a Keras seed generator."
            )


def names_of_models(task: Task) -> str:
    """What the models of a task are called, for messages."""
    names = ", ".join(repr(model.name) for model in task.models.values())
    return f"The model {names}" if len(task.models) == 1 else f"One of the models {names}"
