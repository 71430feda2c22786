"""What tests stand on: real servers, small radiographs, artifacts, and a few fakes for time, failure and speed."""
