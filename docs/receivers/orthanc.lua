-- Gives every film that Orthanc receives to nightread: a copy in the folder that 'producer nightly' scores.
-- docs/dicom.md says how to install it. FILMS is an environment variable of Orthanc's service.
local films = os.getenv('FILMS') or '/srv/films'

function OnStoredInstance(instance, tags, metadata, origin)
  -- Orthanc's own id names the file: it says nothing of the patient.
  -- Nightread enters no hidden names, so it never sees a file that is still being written.
  local part, film = films .. '/.' .. instance, films .. '/' .. instance
  local file = assert(io.open(part, 'wb'))
  file:write(RestApiGet('/instances/' .. instance .. '/file'))
  assert(file:close())
  assert(os.rename(part, film))
end
