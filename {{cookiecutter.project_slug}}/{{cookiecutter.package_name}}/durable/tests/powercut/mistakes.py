"""Mistakes in the order and the number of syncs, and the scene in which each loses something."""

from ..mutants import Mutant

MUTANTS = {
    Mutant(
        "small files are not synchronized",
        "files.py",
        "    temporary.write_bytes(content)\n    synchronize(temporary)\n",
        "    temporary.write_bytes(content)\n",
    ): "beginning",
    Mutant(
        "the names of small files are not synchronized",
        "files.py",
        "    temporary.replace(path)\n    synchronize(path.parent)\n",
        "    temporary.replace(path)\n",
    ): "beginning",
    Mutant(
        "the index of a checkpoint comes before its data",
        "checkpoint/bundle.py",
        "files.put_in_place(files_of(written), ",
        "files.put_in_place(files_of(written)[::-1], ",
    ): "beginning",
    Mutant(
        "the files of TensorBoard are not synchronized",
        "run/log.py",
        "                synchronize(events)\n",
        "                pass\n",
    ): "beginning",
    Mutant(
        "the file of TensorBoard with the last name is synchronized",
        "run/log.py",
        "        for events in self._events:\n",
        "        for events in event_files(self._path.parent / 'tensorboard')[-1:]:\n",
    ): "training",
    Mutant(
        "new folders are not synchronized",
        "files.py",
        "    for made in missing:\n        synchronize(made.parent)\n",
        "",
    ): "beginning",
    Mutant(
        "small files are written in place",
        "files.py",
        '    temporary = path.parent / f"{path.name}{TEMPORARY}"\n    temporary.write_bytes',
        "    temporary = path\n    temporary.write_bytes",
    ): "training",
    Mutant(
        "what is added to a log is not synchronized",
        "files.py",
        "            file.write(text)\n        synchronize(path)\n",
        "            file.write(text)\n",
    ): "beginning",
    Mutant(
        "the name of a new log is not synchronized",
        "files.py",
        "        if is_new:\n            synchronize(path.parent)\n",
        "",
    ): "deriving",
    Mutant(
        "a checkpoint is not synchronized before it is put in place",
        "files.py",
        "            synchronize(file)\n    for file in moved:\n",
        "            pass\n    for file in moved:\n",
    ): "beginning",
    Mutant(
        "the names of a checkpoint are not synchronized",
        "files.py",
        "        move(folder / file.name)\n    synchronize(folder)\n",
        "        move(folder / file.name)\n",
    ): "beginning",
    Mutant(
        "the best is removed before the better one is there",
        "checkpoint/retention.py",
        "        bundle.copy(checkpoint, self.directory)\n",
        "        for kept in found:\n            bundle.remove(kept)\n"
        "        bundle.copy(checkpoint, self.directory)\n",
    ): "training",
    Mutant(
        "the log is not written before the checkpoint",
        "checkpoint/manager.py",
        "            if before is not None:\n                before()\n",
        "",
    ): "beginning",
    Mutant(
        "what a rewind removes may come back",
        "checkpoint/bundle.py",
        "    remove(checkpoint)\n    files.synchronize(checkpoint.parent)\n",
        "    remove(checkpoint)\n",
    ): "rewinding",
    Mutant(
        "a rewind cuts the log first",
        "run/rewind.py",
        "    choose_best(paths, staying)\n",
        "    rewind_log(paths, step)\n    choose_best(paths, staying)\n",
    ): "rewinding",
    Mutant(
        "a file of TensorBoard that is cut is not synchronized",
        "run/log.py",
        "    synchronize(temporary)\n    temporary.replace(path)\n",
        "    temporary.replace(path)\n",
    ): "training",
    Mutant(
        "the name of a file of TensorBoard that is cut is not synchronized",
        "run/log.py",
        "    temporary.replace(path)\n    synchronize(path.parent)\n",
        "    temporary.replace(path)\n",
    ): "rewinding",
    Mutant(
        "the name of a new file of TensorBoard is not synchronized",
        "run/log.py",
        "        synchronize(paths.tensorboard)  # which has a new file\n",
        "",
    ): "beginning",
    Mutant(
        "what a rewind sets aside of TensorBoard is not synchronized",
        "run/log.py",
        "    synchronize(target)\n    synchronize(target.parent)\n",
        "    synchronize(target.parent)\n",
    ): "rewinding",
    Mutant(
        "the name of what a rewind sets aside of TensorBoard is not synchronized",
        "run/log.py",
        "    synchronize(target)\n    synchronize(target.parent)\n",
        "    synchronize(target)\n",
    ): "rewinding",
    Mutant(
        "shards that checkpoints share are not synchronized",
        "checkpoint/shared.py",
        "        files.put_in_place(parts_of(folder / shard.name), shard.parent, overwrite=True)\n",
        "        for part in parts_of(folder / shard.name):\n"
        "            part.replace(shard.parent / part.name)\n",
    ): "sharing",
    Mutant(
        "a pin is not synchronized",
        "cli/pin.py",
        '        files.write_text(bundle.pin_file(checkpoint), "")\n',
        "        bundle.pin_file(checkpoint).touch()\n",
    ): "beginning",
    Mutant(
        "a pin that was removed may come back",
        "files.py",
        "    path.unlink(missing_ok=True)\n    synchronize(path.parent)\n",
        "    path.unlink(missing_ok=True)\n",
    ): "training",
    Mutant(
        "the folder of an evaluation is not synchronized",
        "evaluation/results.py",
        "            make_folder(self.folder)\n",
        "            self.folder.mkdir(parents=True, exist_ok=True)\n",
    ): "deriving",
    Mutant(
        "what is in an export is not synchronized",
        "files.py",
        "            synchronize(epath.Path(path))\n        synchronize(temporary)\n",
        "            pass\n        synchronize(temporary)\n",
    ): "deriving",
    Mutant(
        "the names in an export are not synchronized",
        "files.py",
        "            synchronize(epath.Path(path))\n        synchronize(temporary)\n",
        "            synchronize(epath.Path(path))\n",
    ): "deriving",
}
