from .checkpoint.callback import Checkpointing as Checkpointing
from .checkpoint.card import Card as Card
from .checkpoint.card import Origin as Origin
from .checkpoint.card import read_card as read_card
from .checkpoint.manager import CheckpointManager as CheckpointManager
from .checkpoint.retention import Best as Best
from .checkpoint.workers import Workers as Workers
from .cli.evaluate import evaluate as evaluate
from .cli.main import run_command as run_command
from .compat import apply_gradients as apply_gradients
from .compat import keras as keras
from .data.arrays import ArrayData as ArrayData
from .data.arrays import WindowExamples as WindowExamples
from .data.arrays import hold_out as hold_out
from .data.arrays import hold_out_numbers as hold_out_numbers
from .data.arrays import load_arrays as load_arrays
from .data.images import ImageExamples as ImageExamples
from .data.images import class_folders as class_folders
from .data.images import images_with_masks as images_with_masks
from .data.indexed import Examples as Examples
from .data.indexed import IndexedData as IndexedData
from .data.indexed import find_files as find_files
from .data.indexed import name_bad_examples as name_bad_examples
from .data.pipeline import PipelineData as PipelineData
from .data.protocol import Data as Data
from .data.protocol import DataSpec as DataSpec
from .data.protocol import data_state as data_state
from .data.records import RecordExamples as RecordExamples
from .data.sources import ArrayFiles as ArrayFiles
from .data.sources import ArrayRecords as ArrayRecords
from .data.sources import SourceExamples as SourceExamples
from .errors import (
    CardMissing as CardMissing,
)
from .errors import (
    CheckpointExists as CheckpointExists,
)
from .errors import (
    CheckpointMismatch as CheckpointMismatch,
)
from .errors import (
    ConfigurationError as ConfigurationError,
)
from .errors import (
    DamagedCheckpoint as DamagedCheckpoint,
)
from .errors import (
    NotFinite as NotFinite,
)
from .errors import (
    NoUsableCheckpoint as NoUsableCheckpoint,
)
from .errors import (
    SaveFailed as SaveFailed,
)
from .errors import (
    UserError as UserError,
)
from .files import absolute as absolute
from .run.agreement import Agreement as Agreement
from .run.agreement import Watchdog as Watchdog
from .run.agreement import agree as agree
from .run.agreement import ending_with_others as ending_with_others
from .run.agreement import own_place as own_place
from .run.cadence import Cadence as Cadence
from .run.command_line import parse_settings as parse_settings
from .run.debugging import Profiler as Profiler
from .run.debugging import limit as limit
from .run.experiment import Batch as Batch
from .run.experiment import Experiment as Experiment
from .run.experiment import Figures as Figures
from .run.experiment import Hook as Hook
from .run.experiment import Outputs as Outputs
from .run.experiment import Task as Task
from .run.layers import ExampleDropout as ExampleDropout
from .run.layers import InferenceMode as InferenceMode
from .run.log import Display as Display
from .run.log import MetricsLog as MetricsLog
from .run.means import Validation as Validation
from .run.means import mean_probabilities as mean_probabilities
from .run.optimization import WarmUp as WarmUp
from .run.paths import RunPaths as RunPaths
from .run.replicas import deal as deal
from .run.replicas import draw_by_example as draw_by_example
from .run.replicas import share_of as share_of
from .run.replicas import start_strategy as start_strategy
from .run.session import (
    RunLock as RunLock,
)
from .run.session import (
    Signals as Signals,
)
from .run.session import (
    expect_signals as expect_signals,
)
from .run.session import (
    prepare_process as prepare_process,
)
from .run.session import (
    run_main as run_main,
)
from .run.settings import Project as Project
from .run.settings import RunSettings as RunSettings
from .run.settings import require as require
from .run.start import (
    check_start as check_start,
)
from .run.start import (
    fork as fork,
)
from .run.start import (
    manager_options as manager_options,
)
from .run.start import (
    record_start as record_start,
)
from .run.start import (
    with_best_metric as with_best_metric,
)
from .run.state import TrainState as TrainState
from .run.stopping import FiniteGuard as FiniteGuard
from .run.trackers import send_rest as send_rest
from .untrusted import require_regular as require_regular
