// An object store for tests: a plugin that gives TensorFlow a file system for az://.
//
// It is compiled from TensorFlow's headers, and keeps its objects as files below the folder that
// the variable OBJECT_STORE names. It has what object stores have, and no more:
//
// - an object appears whole, when whoever writes it closes it, or not at all;
// - nothing is added to an object, and it has one name;
// - to rename is to copy and then to delete, one object after the other;
// - a folder is there while an object is in it.
//
// Each change is a line of the file that OBJECT_STORE_JOURNAL names, if it is set, as
//
//     put bucket/runs/default/metrics.jsonl
//
// In the place of the change that OBJECT_STORE_KILL gives in this form, the process is killed. A
// file `.left` in the store says how many more changes are possible before the next ones fail; with
// a file `.unreachable`, nothing is possible.

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <string>
#include <system_error>
#include <vector>

#include "tensorflow/c/experimental/filesystem/filesystem_interface.h"
#include "tensorflow/c/tf_status.h"

namespace fs = std::filesystem;

namespace {

const std::string kScheme = "az://";

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

fs::path Store() { return Variable("OBJECT_STORE"); }

// Where the object of an address is; of a folder, its address may end with a slash.
fs::path Place(const std::string& address) {
  fs::path place = Store() / address.substr(kScheme.size());
  return place.has_filename() ? place : place.parent_path();
}

std::string Key(const fs::path& place) { return place.lexically_relative(Store()).string(); }

bool IsFolder(const fs::path& place) { return fs::is_directory(place); }

void Set(TF_Status* status, TF_Code code, const std::string& text) {
  TF_SetStatus(status, code, text.c_str());
}

bool IsOk(const TF_Status* status) { return TF_GetCode(status) == TF_OK; }

bool IsReachable(TF_Status* status) {
  const bool is_reachable = !fs::exists(Store() / ".unreachable");
  Set(status, is_reachable ? TF_OK : TF_UNAVAILABLE, is_reachable ? "" : "the store does not answer");
  return is_reachable;
}

// Whether a change is possible; then the journal has it.
bool MayChange(const std::string& kind, const fs::path& place, TF_Status* status) {
  static std::mutex mutex;  // a checkpoint may be written by several threads
  const std::lock_guard<std::mutex> lock(mutex);
  const std::string change = kind + " " + Key(place);
  if (change == Variable("OBJECT_STORE_KILL")) kill(getpid(), SIGKILL);
  if (!IsReachable(status)) return false;
  const fs::path left = Store() / ".left";
  if (fs::exists(left)) {
    long count = 0;
    std::ifstream(left) >> count;
    if (count == 0) {
      Set(status, TF_UNAVAILABLE, "the store takes no changes");
      return false;
    }
    std::ofstream(left) << count - 1;
  }
  const std::string journal = Variable("OBJECT_STORE_JOURNAL");
  if (!journal.empty()) std::ofstream(journal, std::ios::app) << change << "\n";
  return true;
}

void Put(const fs::path& place, const std::string& content, TF_Status* status) {
  static std::atomic<int> uploads{0};
  if (!MayChange("put", place, status)) return;
  const fs::path upload =
      Store() / (".upload-" + std::to_string(getpid()) + "-" + std::to_string(++uploads));
  std::ofstream(upload, std::ios::binary) << content;
  fs::create_directories(place.parent_path());
  fs::rename(upload, place);
}

void Delete(const fs::path& place, TF_Status* status) {
  if (!MayChange("delete", place, status)) return;
  fs::remove(place);
  std::error_code not_empty;  // what was a folder for the sake of its last object is none any more
  for (fs::path folder = place.parent_path(); folder != Store(); folder = folder.parent_path()) {
    if (!fs::remove(folder, not_empty)) break;
  }
}

bool Read(const fs::path& place, std::string* content, TF_Status* status) {
  if (!IsReachable(status)) return false;
  std::ifstream file(place, std::ios::binary);
  if (IsFolder(place) || !file) {
    Set(status, TF_NOT_FOUND, Key(place) + " is no object");
    return false;
  }
  content->assign(std::istreambuf_iterator<char>(file), {});
  return true;
}

void Copy(const fs::path& from, const fs::path& to, TF_Status* status) {
  std::string content;
  if (Read(from, &content, status)) Put(to, content, status);
}

char* Allocated(const std::string& text) { return strdup(text.c_str()); }

// Files that are read.

struct Reader {
  std::string content;
};

void CleanReader(TF_RandomAccessFile* file) { delete static_cast<Reader*>(file->plugin_file); }

int64_t ReadPart(const TF_RandomAccessFile* file, uint64_t offset, size_t size, char* buffer,
                 TF_Status* status) {
  const std::string& content = static_cast<Reader*>(file->plugin_file)->content;
  const size_t start = std::min<size_t>(offset, content.size());
  const size_t count = std::min(size, content.size() - start);
  std::memcpy(buffer, content.data() + start, count);
  Set(status, count < size ? TF_OUT_OF_RANGE : TF_OK, count < size ? "the end was read" : "");
  return static_cast<int64_t>(count);
}

// Files that are written.

struct Writer {
  fs::path place;
  std::string content;
};

Writer* WriterOf(const TF_WritableFile* file) { return static_cast<Writer*>(file->plugin_file); }

void CleanWriter(TF_WritableFile* file) { delete WriterOf(file); }

void Append(const TF_WritableFile* file, const char* buffer, size_t size, TF_Status* status) {
  WriterOf(file)->content.append(buffer, size);
  Set(status, TF_OK, "");
}

int64_t Tell(const TF_WritableFile* file, TF_Status* status) {
  Set(status, TF_OK, "");
  return static_cast<int64_t>(WriterOf(file)->content.size());
}

void Keep(const TF_WritableFile*, TF_Status* status) { Set(status, TF_OK, ""); }

void Close(const TF_WritableFile* file, TF_Status* status) {
  Put(WriterOf(file)->place, WriterOf(file)->content, status);
}

// The file system.

void Init(TF_Filesystem*, TF_Status* status) { Set(status, TF_OK, ""); }

void Clean(TF_Filesystem*) {}

void OpenToRead(const TF_Filesystem*, const char* path, TF_RandomAccessFile* file,
                TF_Status* status) {
  auto* reader = new Reader;
  Set(status, TF_OK, "");
  Read(Place(path), &reader->content, status);
  file->plugin_file = reader;
}

void OpenToWrite(const TF_Filesystem*, const char* path, TF_WritableFile* file,
                 TF_Status* status) {
  file->plugin_file = new Writer{Place(path), ""};
  Set(status, TF_OK, "");
}

void OpenToAppend(const TF_Filesystem*, const char*, TF_WritableFile*, TF_Status* status) {
  Set(status, TF_UNIMPLEMENTED, "nothing is added to an object");
}

// To make a folder is nothing, and to remove an empty one too: there is none.
void LeaveFolder(const TF_Filesystem*, const char*, TF_Status* status) { Set(status, TF_OK, ""); }

void DeleteFile(const TF_Filesystem*, const char* path, TF_Status* status) {
  const fs::path place = Place(path);
  if (!fs::exists(place) || IsFolder(place)) {
    Set(status, TF_NOT_FOUND, Key(place) + " is no object");
  } else {
    Delete(place, status);
  }
}

void Rename(const TF_Filesystem*, const char* from, const char* to, TF_Status* status) {
  const fs::path source = Place(from), target = Place(to);
  std::vector<fs::path> objects;
  if (IsFolder(source)) {
    for (const auto& entry : fs::recursive_directory_iterator(source)) {
      if (!entry.is_directory()) objects.push_back(entry.path());
    }
  } else {
    objects.push_back(source);
  }
  for (const fs::path& object : objects) {
    const fs::path rest = object.lexically_relative(source);
    Copy(object, rest == "." ? target : target / rest, status);
    if (IsOk(status)) Delete(object, status);
    if (!IsOk(status)) return;
  }
}

void CopyFile(const TF_Filesystem*, const char* from, const char* to, TF_Status* status) {
  Copy(Place(from), Place(to), status);
}

void Exists(const TF_Filesystem*, const char* path, TF_Status* status) {
  if (!IsReachable(status)) return;
  const bool is_there = fs::exists(Place(path));
  Set(status, is_there ? TF_OK : TF_NOT_FOUND, is_there ? "" : std::string(path) + " is not there");
}

void Describe(const TF_Filesystem*, const char* path, TF_FileStatistics* found,
              TF_Status* status) {
  if (!IsReachable(status)) return;
  const fs::path place = Place(path);
  struct stat described;
  if (stat(place.c_str(), &described) != 0) {
    Set(status, TF_NOT_FOUND, Key(place) + " is not there");
    return;
  }
  found->length = IsFolder(place) ? 0 : described.st_size;
  found->mtime_nsec = described.st_mtim.tv_sec * INT64_C(1000000000) + described.st_mtim.tv_nsec;
  found->is_directory = IsFolder(place);
  Set(status, TF_OK, "");
}

bool IsDirectory(const TF_Filesystem*, const char* path, TF_Status* status) {
  if (!IsReachable(status)) return false;
  const fs::path place = Place(path);
  if (!fs::exists(place)) {
    Set(status, TF_NOT_FOUND, Key(place) + " is not there");
  } else {
    Set(status, IsFolder(place) ? TF_OK : TF_FAILED_PRECONDITION, "it is no folder");
  }
  return IsFolder(place);
}

int Children(const TF_Filesystem*, const char* path, char*** entries, TF_Status* status) {
  if (!IsReachable(status)) return -1;
  const fs::path place = Place(path);
  if (!IsFolder(place)) {
    Set(status, TF_NOT_FOUND, Key(place) + " is no folder");
    return -1;
  }
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(place)) {
    names.push_back(entry.path().filename().string() + (entry.is_directory() ? "/" : ""));
  }
  *entries = static_cast<char**>(std::calloc(names.size() + 1, sizeof(char*)));
  std::transform(names.begin(), names.end(), *entries, Allocated);
  Set(status, TF_OK, "");
  return static_cast<int>(names.size());
}

char* KeepName(const TF_Filesystem*, const char* path) { return Allocated(path); }

template <typename T>
T* New() {
  return static_cast<T*>(std::calloc(1, sizeof(T)));
}

}  // namespace

extern "C" void TF_InitPlugin(TF_FilesystemPluginInfo* info) {
  info->plugin_memory_allocate = std::malloc;
  info->plugin_memory_free = std::free;
  info->num_schemes = 1;
  info->ops = New<TF_FilesystemPluginOps>();
  TF_SetFilesystemVersionMetadata(info->ops);
  info->ops->scheme = Allocated("az");

  auto* reading = info->ops->random_access_file_ops = New<TF_RandomAccessFileOps>();
  reading->cleanup = CleanReader;
  reading->read = ReadPart;

  auto* writing = info->ops->writable_file_ops = New<TF_WritableFileOps>();
  writing->cleanup = CleanWriter;
  writing->append = Append;
  writing->tell = Tell;
  writing->flush = Keep;
  writing->sync = Keep;
  writing->close = Close;

  auto* system = info->ops->filesystem_ops = New<TF_FilesystemOps>();
  system->init = Init;
  system->cleanup = Clean;
  system->new_random_access_file = OpenToRead;
  system->new_writable_file = OpenToWrite;
  system->new_appendable_file = OpenToAppend;
  system->create_dir = LeaveFolder;
  system->recursively_create_dir = LeaveFolder;
  system->delete_file = DeleteFile;
  system->delete_dir = LeaveFolder;
  system->rename_file = Rename;
  system->copy_file = CopyFile;
  system->path_exists = Exists;
  system->stat = Describe;
  system->is_directory = IsDirectory;
  system->get_children = Children;
  system->translate_name = KeepName;
}
