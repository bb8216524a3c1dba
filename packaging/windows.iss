; Inno Setup 6: iscc /DVersion=0.1.0 packaging\windows.iss, after `python packaging\build.py` on Windows.
; Written with care, not run yet: nobody has built aegui on Windows.

#ifndef Version
  #error Say which version: iscc /DVersion=X.Y.Z packaging\windows.iss
#endif

[Setup]
AppId={{6C0B7B0E-3F1B-4E8E-9C53-0B1B6A6C8E31}
AppName=aegui
AppVersion={#Version}
AppPublisher=aegui developers
DefaultDirName={autopf}\aegui
DefaultGroupName=aegui
LicenseFile=..\LICENSE
OutputDir=..\dist
OutputBaseFilename=aegui-{#Version}-windows-x64
SetupIconFile=..\build\aegui.ico
UninstallDisplayIcon={app}\aegui-window.exe
ArchitecturesAllowed=x64compatible
ArchitecturesInstallIn64BitMode=x64compatible
PrivilegesRequired=lowest
PrivilegesRequiredOverridesAllowed=dialog
Compression=lzma2/normal
SolidCompression=yes
WizardStyle=modern

[Tasks]
Name: "desktopicon"; Description: "{cm:CreateDesktopIcon}"; Flags: unchecked

[Files]
Source: "..\dist\aegui\*"; DestDir: "{app}"; Flags: ignoreversion recursesubdirs createallsubdirs

[Icons]
Name: "{group}\aegui"; Filename: "{app}\aegui-window.exe"
Name: "{autodesktop}\aegui"; Filename: "{app}\aegui-window.exe"; Tasks: desktopicon

[Run]
Filename: "{app}\aegui-window.exe"; Description: "{cm:LaunchProgram,aegui}"; Flags: nowait postinstall skipifsilent
